// What makes pages better where scripts run: times in the reader's zone, and buttons that copy. Nothing needs it.
(() => {
  "use strict";
  const written = new Intl.DateTimeFormat(document.documentElement.lang || undefined, {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit",
  });
  const exact = new Intl.DateTimeFormat(document.documentElement.lang || undefined, {
    dateStyle: "full", timeStyle: "long",
  });

  function localise(root) {
    for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
      const instant = new Date(time.getAttribute("datetime"));
      if (Number.isNaN(instant.valueOf())) continue;
      time.textContent = written.format(instant);
      time.title = `${exact.format(instant)} (${time.getAttribute("datetime")})`;
      time.dataset.local = "yes";
    }
  }

  function offerCopies(root) {
    if (!navigator.clipboard) return;
    for (const button of root.querySelectorAll("button[data-copy]")) button.hidden = false;
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    await navigator.clipboard.writeText(source.textContent.trim());
    const before = button.textContent;
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = before; }, 2000);
  });

  document.addEventListener("htmx:afterSwap", (event) => { localise(event.target); offerCopies(event.target); });
  document.addEventListener("allauth.error", (event) => {
    event.preventDefault();
    const place = document.getElementById("passkey-error");
    if (place) place.hidden = false;
  });
  localise(document);
  offerCopies(document);
})();
