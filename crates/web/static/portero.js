// Portero's pages work without this. With it: the address is shown and checked while it's typed, passwords can be
// looked at, forms are sent once, and the steps of a sign-up and the operators' figures are seen as they happen.
(() => {
  "use strict";

  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => within.querySelectorAll(selector);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

  // --- Forms: the first field at fault gets the focus; a second click sends nothing.
  one("[aria-invalid=true]")?.focus();

  for (const form of all("form[data-once]")) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) return event.preventDefault();
      form.dataset.sent = "yes";
      // Somebody who stopped the page from loading may send it again.
      setTimeout(() => delete form.dataset.sent, 8000);
    });
    addEventListener("pageshow", () => delete form.dataset.sent);
  }

  // --- Passwords: show and hide.
  for (const field of all("[data-reveal]")) {
    const input = one("input", field);
    const button = document.createElement("button");
    const set = (shown) => {
      input.type = shown ? "text" : "password";
      button.textContent = shown ? field.dataset.hide : field.dataset.show;
    };
    button.type = "button";
    button.className = "reveal";
    button.setAttribute("aria-controls", input.id);
    button.addEventListener("click", () => set(input.type === "password"));
    input.form.addEventListener("submit", () => set(false));
    set(false);
    field.append(button);
  }

  // --- Sign-up: a subdomain from the company's name, the address as it will be, and whether it's free.
  const LONGEST = 40;

  const suggest = (name) =>
    name
      .toLowerCase()
      .replace(/ß/g, "ss").replace(/ø/g, "o").replace(/æ/g, "ae").replace(/œ/g, "oe").replace(/ł/g, "l")
      .normalize("NFD").replace(/\p{M}/gu, "")
      .replace(/[^a-z0-9]+/g, "-")
      .slice(0, LONGEST)
      .replace(/^-+|-+$/g, "");

  const signup = one("form[data-signup]");
  if (signup) {
    const { company, subdomain } = signup.elements;
    const plate = one("[data-address]", signup);
    const state = one("#subdomain-state");
    let typed = subdomain.value !== "";
    let timer, asked;

    const say = (kind, text) => {
      state.dataset.kind = kind;
      state.textContent = text;
    };

    const check = async (name) => {
      asked?.abort();
      asked = new AbortController();
      const { signal } = asked;
      say("checking", state.dataset.checking);
      try {
        const answer = await fetch(`/api/v1/subdomains/${encodeURIComponent(name)}`, {
          signal,
          headers: { accept: "application/json" },
        });
        if (!answer.ok) return say("", "");
        const { available, reason } = await answer.json();
        if (signal.aborted) return;
        if (available) say("free", state.dataset.available);
        else say("refused", state.getAttribute(`data-${reason}`) ?? state.dataset.unknown);
      } catch {
        if (!signal.aborted) say("", "");
      }
    };

    const changed = () => {
      const name = subdomain.value.trim().toLowerCase();
      plate.textContent = name || plate.dataset.example;
      clearTimeout(timer);
      asked?.abort();
      one("#subdomain-error")?.remove();
      subdomain.removeAttribute("aria-invalid");
      if (!name) return say("", "");
      timer = setTimeout(check, 300, name);
    };

    company.addEventListener("input", () => {
      if (typed) return;
      subdomain.value = suggest(company.value);
      changed();
    });
    subdomain.addEventListener("input", () => {
      typed = subdomain.value !== "";
      changed();
    });
  }

  // --- Progress: the job's events, in place; then through the door.
  const job = one("[data-job]");
  if (job) {
    const { enter, events } = job.dataset;
    const steps = one(".steps", job);
    const bar = one("progress", job);
    const door = one(".door", job);

    // `replace`: "back" shouldn't lead to a page that leads forward again.
    const goIn = () => setTimeout(() => location.replace(enter), calm ? 400 : 1100);

    const show = ({ status, steps: now }) => {
      for (const step of now ?? []) {
        const line = one(`[data-step="${CSS.escape(step.name)}"]`, steps);
        const word = steps.getAttribute(`data-say-${step.status}`);
        if (!line || !word) continue;
        line.dataset.status = step.status;
        one("small", line).textContent = word;
      }
      bar.value = all("[data-status=done]", steps).length;
      const takenBack = (now ?? []).some((step) => step.status === "undoing" || step.status === "undone");
      if (status === "failed" || (takenBack && job.dataset.status === "running")) return location.reload();
      if (status !== "done") return;
      bar.value = bar.max;
      job.dataset.status = "done";
      door.dataset.door = "open";
      for (const text of all("[data-done]", job)) text.textContent = text.dataset.done;
      one("[data-way-in]", job).hidden = false;
      document.title = `${one("[data-headline]", job).textContent} · Portero`;
      goIn();
    };

    if (job.dataset.status === "done") {
      goIn();
    } else if (job.dataset.status === "running" || job.dataset.status === "undoing") {
      const source = new EventSource(events);
      source.addEventListener("job", (event) => {
        const news = JSON.parse(event.data);
        if (news.status !== "running") source.close();
        show(news);
      });
      source.addEventListener("error", () => {
        // The browser reconnects by itself unless it was refused; then the page asks again as a whole.
        if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 2000);
      });
    }
  }

  // --- What is live: looked at again every two seconds, while somebody looks.
  const parts = [...all("[data-live]")];
  if (parts.length) {
    const away = one("[data-away]");

    // What has the focus keeps it, if it is still there.
    const replace = (part, news) => {
      if (part.innerHTML === news.innerHTML) return;
      const focus = part.contains(document.activeElement) && document.activeElement;
      const href = focus && focus.getAttribute("href");
      part.replaceChildren(...news.childNodes);
      if (href) one(`a[href="${CSS.escape(href)}"]`, part)?.focus({ preventScroll: true });
    };

    const look = async () => {
      if (!document.hidden) {
        try {
          const answer = await fetch(location.href, { headers: { accept: "text/html" } });
          if (answer.redirected) return location.reload();
          const page = new DOMParser().parseFromString(await answer.text(), "text/html");
          const news = [...all("[data-live]", page)];
          // A page that has come to its end shows it as a whole.
          if (answer.ok && news.length !== parts.length) return location.reload();
          if (!answer.ok) throw new Error(answer.status);
          parts.forEach((part, number) => replace(part, news[number]));
          if (away) away.hidden = true;
        } catch {
          if (away) away.hidden = false;
        }
      }
      setTimeout(look, 2000);
    };
    setTimeout(look, 2000);
  }
})();
