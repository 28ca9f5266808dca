// The one way by which text becomes markup on our pages (Trusted Types' default policy): what htmx fetches goes
// through DOMPurify first. Fragments of ours hold no attributes of htmx and no scripts, so that nothing is lost by it.
(() => {
  "use strict";
  if (!window.trustedTypes) return;
  const shadow = { ALLOW_DATA_ATTR: true, RETURN_TRUSTED_TYPE: false };
  window.trustedTypes.createPolicy("default", {
    createHTML: (text) => window.DOMPurify.sanitize(text, shadow),
  });
})();
