package keywright

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestAKeySetIsBelieved(t *testing.T) {
	v := newVendor(t, packageNow)
	set, err := openKeySet(v.keySetText(packageNow, 3), v.build())
	if err != nil {
		t.Fatal(err)
	}
	if set.version != 3 || len(set.keys) != 2 || set.validAt(packageNow) != nil {
		t.Errorf("the key set was read as %+v", set)
	}
}

func TestAKeySetIsRefusedWithItsReason(t *testing.T) {
	day := 24 * time.Hour
	payload := func(change func(map[string]any)) func(*vendor) string {
		return func(v *vendor) string {
			claims := v.keySetPayload(packageNow, 3)
			change(claims)
			return signJWS(v.t, v.keySet.key, x5cHeader("keyset+jws", v.keySet.certificate), claims)
		}
	}
	by := func(v *vendor, s signer) string {
		return signJWS(v.t, s.key, x5cHeader("keyset+jws", s.certificate), v.keySetPayload(packageNow, 3))
	}
	cases := map[string]struct {
		text func(*vendor) string
		want Reason
	}{
		"another authority's server": {func(v *vendor) string { return newVendor(v.t, packageNow).keySetText(packageNow, 3) },
			ReasonCertificateForeign},
		"signed by the key-slot signer": {func(v *vendor) string { return by(v, v.keySlots) }, ReasonCertificatePurpose},
		"certificate of 91 days": {func(v *vendor) string {
			return by(v, v.newSigner(purposeKeySet, packageNow, packageNow.Add(91*day)))
		}, ReasonCertificateInvalid},
		"another key than the certificate's": {func(v *vendor) string {
			return by(v, signer{key: v.keySlots.key, certificate: v.keySet.certificate})
		}, ReasonCertificateInvalid},
		"header of key slots": {func(v *vendor) string {
			return signJWS(v.t, v.keySet.key, x5cHeader("keyslots+jws", v.keySet.certificate), v.keySetPayload(packageNow, 3))
		}, ReasonCertificateInvalid},
		"header with a space": {func(v *vendor) string {
			header := strings.Replace(x5cHeader("keyset+jws", v.keySet.certificate), ":", ": ", 1)
			return signJWS(v.t, v.keySet.key, header, v.keySetPayload(packageNow, 3))
		}, ReasonCertificateInvalid},
		"x5c broken over lines": {func(v *vendor) string {
			der := base64.StdEncoding.EncodeToString(v.keySet.certificate.Raw)
			header := fmt.Sprintf(`{"alg":"ES256","typ":"keyset+jws","x5c":["%s\n%s"]}`, der[:8], der[8:])
			return signJWS(v.t, v.keySet.key, strings.ReplaceAll(header, `\n`, "\n"), v.keySetPayload(packageNow, 3))
		}, ReasonCertificateInvalid},
		"another issuer": {payload(func(c map[string]any) { c["iss"] = "https://elsewhere.test" }), ReasonKeySetInvalid},
		"another type":   {payload(func(c map[string]any) { c["_type"] = "keywright-keyslots/v1" }), ReasonKeySetInvalid},
		"valid for 8 days": {payload(func(c map[string]any) { c["expires_at"] = packageNow.Add(8 * day).Unix() }),
			ReasonKeySetInvalid},
		"kid of another key": {payload(func(c map[string]any) { c["keys"].([]any)[0].(map[string]any)["kid"] = "x" }),
			ReasonKeySetInvalid},
		"point off the curve": {payload(func(c map[string]any) {
			c["keys"].([]any)[0].(map[string]any)["x"] = base64.RawURLEncoding.EncodeToString(make([]byte, 32))
		}), ReasonKeySetInvalid},
		"unknown purpose": {payload(func(c map[string]any) {
			c["keys"].([]any)[0].(map[string]any)["purpose"] = "both"
		}), ReasonKeySetInvalid},
		"duplicate member": {func(v *vendor) string {
			text := strings.Replace(string(mustJSON(v.t, v.keySetPayload(packageNow, 3))), `{`, `{"version":9,`, 1)
			return signJWS(v.t, v.keySet.key, x5cHeader("keyset+jws", v.keySet.certificate), []byte(text))
		}, ReasonKeySetInvalid},
		"padding":     {func(v *vendor) string { return v.keySetText(packageNow, 3) + "=" }, ReasonKeySetInvalid},
		"a page":      {func(*vendor) string { return "<html>sign in</html>" }, ReasonKeySetInvalid},
		"too long":    {func(*vendor) string { return strings.Repeat("a", maximumJWSBytes+1) }, ReasonKeySetInvalid},
		"a line end":  {func(v *vendor) string { return v.keySetText(packageNow, 3) + "\n" }, ReasonKeySetInvalid},
		"not a chain": {func(v *vendor) string { return signJWS(v.t, v.keySet.key, `{"alg":"none"}`, "x") }, ReasonCertificateInvalid},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t, packageNow)
			_, err := openKeySet(test.text(v), v.build())
			wantReason(t, err, test.want)
		})
	}
}

func TestAKeySetExpiresAtItsInstant(t *testing.T) {
	v := newVendor(t, packageNow)
	set, err := openKeySet(v.keySetText(packageNow, 1), v.build())
	if err != nil {
		t.Fatal(err)
	}
	end := packageNow.Add(7 * 24 * time.Hour)
	if err := set.validAt(end.Add(-time.Second)); err != nil {
		t.Error(err)
	}
	wantReason(t, set.validAt(end), ReasonKeySetExpired)
	wantReason(t, set.validAt(v.keySet.certificate.NotAfter.Add(time.Second)), ReasonCertificateLapsed)
}

func TestAKeySetNeverGoesBack(t *testing.T) {
	v := newVendor(t, packageNow)
	older, err := openKeySet(v.keySetText(packageNow, 4), v.build())
	if err != nil {
		t.Fatal(err)
	}
	if err := older.checkNotOlder(older.seen()); err != nil {
		t.Errorf("the same again: %v", err)
	}
	wantReason(t, older.checkNotOlder(seenKeySet{Version: 5}), ReasonKeySetRolledBack)
	newer := older.certificate.NotBefore.Add(time.Second).Unix()
	wantReason(t, older.checkNotOlder(seenKeySet{Version: 4, CertificateIssued: newer}), ReasonKeySetRolledBack)
}

func openTestToken(v *vendor, text string) error {
	v.t.Helper()
	set, err := openKeySet(v.keySetText(packageNow, 1), v.build())
	if err != nil {
		v.t.Fatal(err)
	}
	_, err = openToken(text, "nonce-1", set, v.build(), packageNow)
	return err
}

func TestATokenIsRefusedWithItsReason(t *testing.T) {
	claims := func(change func(map[string]any)) func(*vendor) string {
		return func(v *vendor) string {
			made := v.tokenClaims(packageNow, "nonce-1", []string{"console_logging"})
			change(made)
			return signJWS(v.t, v.tokenKey, kidHeader(v.t, "at+jwt", v.tokenKey), made)
		}
	}
	set := func(claim string, value any) func(*vendor) string {
		return claims(func(made map[string]any) { made[claim] = value })
	}
	missing := func(claim string) func(*vendor) string {
		return claims(func(made map[string]any) { delete(made, claim) })
	}
	headed := func(header func(*vendor) string) func(*vendor) string {
		return func(v *vendor) string {
			return signJWS(v.t, v.tokenKey, header(v), v.tokenClaims(packageNow, "nonce-1", nil))
		}
	}
	cases := map[string]struct {
		text func(*vendor) string
		want Reason
	}{
		"the real one": {claims(func(map[string]any) {}), ""},
		"no build":     {set("bld", nil), ""},
		"a lease": {func(v *vendor) string {
			return signJWS(v.t, v.leaseKey, kidHeader(v.t, "lease+jwt", v.leaseKey),
				v.leaseClaims(packageNow, nil, packageNow.Add(time.Hour)))
		}, ReasonTokenType},
		"signed by the lease key": {func(v *vendor) string {
			return signJWS(v.t, v.leaseKey, kidHeader(v.t, "at+jwt", v.leaseKey),
				v.tokenClaims(packageNow, "nonce-1", []string{}))
		}, ReasonTokenKeyUnknown},
		"a key that is not listed": {func(v *vendor) string {
			key := newECKey(v.t)
			return signJWS(v.t, key, kidHeader(v.t, "at+jwt", key), v.tokenClaims(packageNow, "nonce-1", []string{}))
		}, ReasonTokenKeyUnknown},
		"a listed kid, another key": {func(v *vendor) string {
			return signJWS(v.t, newECKey(v.t), kidHeader(v.t, "at+jwt", v.tokenKey),
				v.tokenClaims(packageNow, "nonce-1", []string{}))
		}, ReasonTokenInvalid},
		"members in another order": {headed(func(v *vendor) string {
			return fmt.Sprintf(`{"kid":"%s","alg":"ES256","typ":"at+jwt"}`, kidOf(v.t, v.tokenKey))
		}), ReasonTokenKeyUnknown},
		"one more member": {headed(func(v *vendor) string {
			return fmt.Sprintf(`{"alg":"ES256","crit":[],"kid":"%s","typ":"at+jwt"}`, kidOf(v.t, v.tokenKey))
		}), ReasonTokenKeyUnknown},
		"alg none": {headed(func(v *vendor) string {
			return fmt.Sprintf(`{"alg":"none","kid":"%s","typ":"at+jwt"}`, kidOf(v.t, v.tokenKey))
		}), ReasonTokenKeyUnknown},
		"another issuer":     {set("iss", "https://elsewhere.test"), ReasonTokenForeign},
		"another plugin":     {set("aud", "other"), ReasonTokenForeign},
		"audience as a list": {set("aud", []string{testPlugin}), ReasonTokenInvalid},
		"another client":     {set("client_id", "cust_9"), ReasonTokenForeign},
		"another customer":   {set("customer_id", "cust_9"), ReasonTokenForeign},
		"another version":    {set("ver", "9.9.9"), ReasonTokenForeign},
		"another build":      {set("bld", "bld_9"), ReasonTokenForeign},
		"another nonce":      {set("nonce", "nonce-2"), ReasonTokenStale},
		"no nonce":           {set("nonce", nil), ReasonTokenStale},
		"expired at the instant": {claims(func(made map[string]any) {
			made["iat"], made["nbf"], made["auth_time"] = packageNow.Unix()-900, packageNow.Unix()-900, packageNow.Unix()-900
			made["exp"] = packageNow.Unix()
		}), ReasonTokenStale},
		"lives two days":      {set("exp", packageNow.Add(48*time.Hour).Unix()), ReasonTokenInvalid},
		"not yet valid":       {set("nbf", packageNow.Unix()+1), ReasonTokenInvalid},
		"authenticated later": {set("auth_time", packageNow.Unix()+1), ReasonTokenInvalid},
		"fractional time":     {set("exp", 1.5), ReasonTokenInvalid},
		"no installation":     {missing("sub"), ReasonTokenInvalid},
		"no expiry":           {missing("exp"), ReasonTokenInvalid},
		"no features":         {missing("authorized_features"), ReasonTokenInvalid},
		"no permissions":      {missing("plugin_permissions"), ReasonTokenInvalid},
		"no auth_time":        {missing("auth_time"), ReasonTokenInvalid},
		"key set over at iat": {claims(func(made map[string]any) {
			later := packageNow.Add(8 * 24 * time.Hour)
			made["iat"], made["exp"] = later.Unix(), later.Add(time.Minute).Unix()
		}), ReasonKeySetExpired},
		"two parts":  {func(*vendor) string { return "e30.e30" }, ReasonTokenInvalid},
		"more after": {func(v *vendor) string { return claims(func(map[string]any) {})(v) + "." }, ReasonTokenInvalid},
		"re-encoded": {func(v *vendor) string {
			text := claims(func(map[string]any) {})(v)
			return text[:len(text)-4] + "\n" + text[len(text)-4:]
		}, ReasonTokenInvalid},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t, packageNow)
			wantReason(t, openTestToken(v, test.text(v)), test.want)
		})
	}
}

func TestALeaseIsRefusedWithItsReason(t *testing.T) {
	claims := func(change func(map[string]any)) func(*vendor) string {
		return func(v *vendor) string {
			made := v.leaseClaims(packageNow, map[string]time.Time{"a": packageNow}, packageNow.Add(time.Hour))
			change(made)
			return signJWS(v.t, v.leaseKey, kidHeader(v.t, "lease+jwt", v.leaseKey), made)
		}
	}
	set := func(claim string, value any) func(*vendor) string {
		return claims(func(made map[string]any) { made[claim] = value })
	}
	cases := map[string]struct {
		text func(*vendor) string
		want Reason
	}{
		"the real one": {claims(func(map[string]any) {}), ""},
		"a token": {func(v *vendor) string {
			return signJWS(v.t, v.tokenKey, kidHeader(v.t, "at+jwt", v.tokenKey), v.tokenClaims(packageNow, "n", nil))
		}, ReasonTokenType},
		"signed by the token key": {func(v *vendor) string {
			return signJWS(v.t, v.tokenKey, kidHeader(v.t, "lease+jwt", v.tokenKey),
				v.leaseClaims(packageNow, nil, packageNow.Add(time.Hour)))
		}, ReasonTokenKeyUnknown},
		"for another audience": {set("aud", testPlugin), ReasonLeaseInvalid},
		"another plugin":       {set("plugin", "other"), ReasonLeaseInvalid},
		"another build":        {set("bld", "bld_9"), ReasonLeaseInvalid},
		"ends that disagree":   {set("offline_until", packageNow.Add(2*time.Hour).Unix()), ReasonLeaseInvalid},
		"no features":          {set("features", nil), ReasonLeaseInvalid},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t, packageNow)
			keys, err := openKeySet(v.keySetText(packageNow, 1), v.build())
			if err != nil {
				t.Fatal(err)
			}
			_, err = openLease(test.text(v), keys, v.build())
			wantReason(t, err, test.want)
		})
	}
}

func TestASecretOpensOnlyWithItsKeyAndInItsBuild(t *testing.T) {
	v := newVendor(t, packageNow)
	build := v.build()
	secret, err := openSecret(testAPIKey, build.SecretKey, build)
	if err != nil || string(secret) != string(v.secret) {
		t.Fatalf("the secret does not open: %v", err)
	}
	_, err = openSecret(otherTestKey, build.SecretKey, build)
	wantReason(t, err, ReasonSecretUnopened)
	for name, change := range map[string]func(*Embedded){
		"customer": func(e *Embedded) { e.CustomerID = "cust_9" },
		"plugin":   func(e *Embedded) { e.PluginName = "other" },
		"version":  func(e *Embedded) { e.PluginVersion = "9.9.9" },
		"target":   func(e *Embedded) { e.Target = "plan9/mips" },
		"build":    func(e *Embedded) { e.BuildID = "bld_9" },
		"format":   func(e *Embedded) { e.SecretKey = strings.TrimPrefix(e.SecretKey, "encrypted:") },
		"length":   func(e *Embedded) { e.SecretKey = "encrypted:AAAA" },
	} {
		t.Run("not in another "+name, func(t *testing.T) {
			other := *build
			change(&other.Embedded)
			_, err := openSecret(testAPIKey, other.SecretKey, &other)
			wantReason(t, err, ReasonSecretUnopened)
		})
	}
}

func TestKeySlotsAreRefusedWithTheirReason(t *testing.T) {
	payload := func(change func(map[string]any)) func(*vendor) string {
		return func(v *vendor) string {
			made := map[string]any{
				"_type": "keywright-keyslots/v1", "build_id": testBuildID, "customer_id": testCustomer, "version": 1,
				"issued_at": packageNow.Unix(),
				"slots":     []any{map[string]any{"key_hash": apiKeyHash(otherTestKey), "secret": v.seal(otherTestKey)}},
			}
			change(made)
			return signJWS(v.t, v.keySlots.key, x5cHeader("keyslots+jws", v.keySlots.certificate), made)
		}
	}
	set := func(member string, value any) func(*vendor) string {
		return payload(func(made map[string]any) { made[member] = value })
	}
	cases := map[string]struct {
		text func(*vendor) string
		want Reason
	}{
		"the real one":           {payload(func(map[string]any) {}), ""},
		"another build":          {set("build_id", "bld_9"), ReasonKeySlotsInvalid},
		"another customer":       {set("customer_id", "cust_9"), ReasonKeySlotsInvalid},
		"another type":           {set("_type", "keywright-keyset/v1"), ReasonKeySlotsInvalid},
		"no slot for the key":    {set("slots", []any{}), ReasonKeySlotMissing},
		"certificate lapsed":     {set("issued_at", packageNow.Add(2*yearOfValidity).Unix()), ReasonCertificateLapsed},
		"signed by the key set":  {func(v *vendor) string { return v.keySetText(packageNow, 1) }, ReasonCertificateInvalid},
		"another authority":      {func(v *vendor) string { return newVendor(v.t, packageNow).keySlotsText(packageNow, otherTestKey) }, ReasonCertificateForeign},
		"no signed text at all":  {func(*vendor) string { return "" }, ReasonKeySlotsInvalid},
		"a slot moved elsewhere": {set("slots", []any{map[string]any{"key_hash": apiKeyHash(otherTestKey), "secret": "encrypted:AAAA"}}), ReasonSecretUnopened},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t, packageNow)
			_, err := secretFromSlots(otherTestKey, test.text(v), v.build())
			wantReason(t, err, test.want)
		})
	}
}

func TestSignedJSONWithTwoMeaningsIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"a member twice":           `{"a":1,"a":2}`,
		"a member twice, deeper":   `{"x":[{"a":1,"a":2}]}`,
		"twice but for case":       `{"exp":1,"EXP":2}`,
		"twice but for the escape": `{"a":1,"\u0061":2}`,
		"something after":          `{} {}`,
		"not finished":             `{"a":`,
		"too deep":                 strings.Repeat("[", 40) + strings.Repeat("]", 40),
		"no JSON":                  `<html>`,
	} {
		t.Run(name, func(t *testing.T) {
			var into any
			if decodeSigned([]byte(text), &into) == nil {
				t.Errorf("%s was read", text)
			}
		})
	}
	var into map[string]any
	if err := decodeSigned([]byte(` {"a":[1,{"b":null}],"c":{"a":1}} `), &into); err != nil {
		t.Errorf("plain JSON was refused: %v", err)
	}
}
