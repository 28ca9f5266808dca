package keywright

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

const (
	maximumPackageFileBytes = 16 << 20
	minimumRSABits          = 3072
)

// besideFiles are what a package holds beside the binary, the manifest and the manifest's signature.
var besideFiles = []string{
	"plugin.sha256", "plugin.sig", "plugin.crt", "plugin.provenance.json", "plugin.sbom.json",
}

// verifiedPackage is what a whole package yields.
type verifiedPackage struct {
	manifest  *Manifest
	signature []byte // plugin.sig, raw: what the server is shown as plugin_signature
}

// verifyPackage checks that the running binary and all that stands beside it are what the vendor signed.
//
// In this order: the certificates' issuer and purpose, the manifest's signature, only then its contents, the
// certificates' validity at the stated signing time (a later lapse kills nothing), the agreement with the embedded
// constants, the binary's digest and RSA signature, and every other file's digest. Source: DESIGN section 8.
func verifyPackage(executable, directory string, build *build) (*verifiedPackage, error) {
	files, err := readPackageFiles(directory)
	if err != nil {
		return nil, err
	}
	chain, err := parseChain(files["plugin.crt"], build.authority)
	if err != nil {
		return nil, err
	}
	manifest, err := openManifest(files["plugin.manifest"], files["plugin.manifest.sig"], chain.manifest)
	if err != nil {
		return nil, err
	}
	if err := checkSigningTime(manifest, chain); err != nil {
		return nil, err
	}
	if err := manifest.checkBuild(build); err != nil {
		return nil, err
	}
	if err := verifyBinary(executable, files["plugin.sig"], manifest, chain.binary); err != nil {
		return nil, err
	}
	if err := verifyBeside(files, manifest); err != nil {
		return nil, err
	}
	return &verifiedPackage{manifest: manifest, signature: files["plugin.sig"]}, nil
}

// readPackageFiles reads each file once, so that what is checked is what is used.
func readPackageFiles(directory string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, name := range append([]string{"plugin.manifest", "plugin.manifest.sig"}, besideFiles...) {
		contents, err := readBounded(filepath.Join(directory, name), maximumPackageFileBytes)
		switch {
		case err == nil:
			files[name] = contents
		case !errors.Is(err, fs.ErrNotExist):
			return nil, refuse(ReasonPackageFileUnreadable, "%s cannot be read or is too large", name)
		}
	}
	for _, name := range []string{"plugin.manifest", "plugin.manifest.sig", "plugin.sig", "plugin.crt"} {
		if files[name] == nil {
			return nil, refuse(ReasonPackageFileMissing, "%s does not stand beside the binary", name)
		}
	}
	return files, nil
}

// readBounded reads a whole regular file that may be at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	// Before it is opened: opening a named pipe would wait for a writer.
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	contents, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(contents)) > limit {
		return nil, errors.New("too large")
	}
	return contents, nil
}

func checkSigningTime(manifest *Manifest, chain *chain) error {
	instant, err := manifest.signingTime()
	if err != nil {
		return err
	}
	if err := checkCertificateTime(chain.binary, instant, purposeBinary); err != nil {
		return err
	}
	return checkCertificateTime(chain.manifest, instant, purposeManifest)
}

func verifyBinary(executable string, signature []byte, manifest *Manifest, signer *x509.Certificate) error {
	digest, size, err := hashFile(executable)
	if err != nil {
		return refuse(ReasonPackageFileUnreadable, "the running binary cannot be read")
	}
	if hex.EncodeToString(digest) != manifest.Hash {
		return refuse(ReasonBinaryChanged, "the running binary is not the one in the manifest")
	}
	name := "plugin"
	if strings.HasPrefix(manifest.Target, "windows/") {
		name = "plugin.exe"
	}
	if listed := manifest.Files[name]; listed.SHA256 != manifest.Hash || listed.Size != size {
		return refuse(ReasonManifestInvalid, "files does not list the binary as hash does")
	}
	key, ok := signer.PublicKey.(*rsa.PublicKey)
	if !ok || key.N.BitLen() < minimumRSABits {
		return refuse(ReasonCertificateInvalid, "the binary signer's key is not RSA of %d bits", minimumRSABits)
	}
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, digest, signature) != nil {
		return refuse(ReasonBinarySignature, "plugin.sig does not sign the running binary")
	}
	return nil
}

func hashFile(path string) (digest []byte, size int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	hash := sha256.New()
	if size, err = io.Copy(hash, file); err != nil {
		return nil, 0, err
	}
	return hash.Sum(nil), size, nil
}

// verifyBeside holds the other files against the manifest, both ways: none missing, none changed, none slipped in.
func verifyBeside(files map[string][]byte, manifest *Manifest) error {
	for _, name := range besideFiles {
		contents, present := files[name]
		listed, expected := manifest.Files[name]
		digest := sha256.Sum256(contents)
		switch {
		case present && !expected:
			return refuse(ReasonPackageFileUnlisted, "%s is not in the manifest", name)
		case expected && !present:
			return refuse(ReasonPackageFileMissing, "%s is in the manifest but does not stand beside the binary", name)
		case present && (hex.EncodeToString(digest[:]) != listed.SHA256 || int64(len(contents)) != listed.Size):
			return refuse(ReasonPackageFileChanged, "%s is not the one in the manifest", name)
		}
	}
	return nil
}

// runningExecutable gives the path to read the running image from, and the folder that it stands in.
func runningExecutable() (executable, directory string, err error) {
	path, err := os.Executable()
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return "", "", refuse(ReasonPackageFileUnreadable, "the running binary cannot be found")
	}
	if runtime.GOOS == "linux" {
		// The image that runs, even if the file at its path was replaced since.
		return "/proc/self/exe", filepath.Dir(path), nil
	}
	return path, filepath.Dir(path), nil
}
