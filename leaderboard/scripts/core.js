"use strict";
// The data of the site, and elements made of it. Every text goes through textContent: nothing that
// a model wrote is ever read as markup, and the page's policy would not allow it.
const EA = {};
(() => {
  const chunks = new Map();
  const waiting = new Map();
  const allowed = /^data\/[a-zA-Z0-9_][a-zA-Z0-9_.-]*(\/[a-zA-Z0-9_][a-zA-Z0-9_.-]*)*\.js$/;
  const checked = (url) => {
    if (!allowed.test(url)) throw new TypeError(`not a chunk of this site: ${url}`);
    return url;
  };
  const policy = window.trustedTypes
    ? window.trustedTypes.createPolicy("chunks", { createScriptURL: checked })
    : { createScriptURL: checked };

  // What every chunk calls.
  EA.put = (key, value) => {
    chunks.set(key, value);
  };

  const embedded = (key) => {
    const script = document.querySelector(`script[data-key="${CSS.escape(key)}"]`);
    if (script) chunks.set(key, JSON.parse(script.textContent));
  };

  // The value of a chunk that is there already, such as "board".
  EA.have = (key) => {
    if (!chunks.has(key)) embedded(key);
    return chunks.get(key);
  };

  // A promise of the value of a chunk.
  EA.load = (key) => {
    const value = EA.have(key);
    if (value !== undefined) return Promise.resolve(value);
    if (!waiting.has(key)) {
      const promise = new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = policy.createScriptURL(`data/${key}.js`);
        script.onload = () => resolve(chunks.get(key));
        script.onerror = () => reject(new Error(`data/${key}.js is missing from this site`));
        document.head.append(script);
      });
      promise.catch(() => {}).finally(() => waiting.delete(key));
      waiting.set(key, promise);
    }
    return waiting.get(key);
  };

  // The address of a medium: beside the page, or inside it.
  EA.file = (path) => {
    const script = document.querySelector(`script[data-file="${CSS.escape(path)}"]`);
    return script ? `data:${script.dataset.mime};base64,${script.textContent}` : path;
  };

  // EA.el("p", { class: "soft", onclick: f }, "text", child, ...); null children are left out.
  EA.el = (name, attributes, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else element.setAttribute(key, value === true ? "" : value);
    }
    for (const child of children.flat()) if (child !== null && child !== undefined) element.append(child);
    return element;
  };

  // Another text for an element that has one: a new node would cost more.
  EA.retext = (element, text) => {
    if (element.firstChild.data !== text) element.firstChild.data = text;
  };

  // Text that somebody else wrote: kept apart from the direction of what is around it.
  EA.said = (text, name = "bdi", attributes = {}) => EA.el(name, { ...attributes, dir: "auto" }, text);

  // The same for a name such as instruction_following, which lines break after its parts.
  EA.breakable = (text) => {
    const pieces = text.split(/(?<=[_/])/);
    const element = EA.said(pieces[0]);
    for (const piece of pieces.slice(1)) element.append(document.createElement("wbr"), piece);
    return element;
  };

  EA.announce = (text) => {
    document.getElementById("said").textContent = text;
  };

  EA.store = {
    get: (key) => {
      try {
        return localStorage.getItem(key);
      } catch {
        return null; // some browsers keep nothing for files
      }
    },
    set: (key, value) => {
      try {
        localStorage.setItem(key, value);
      } catch {
        // as above
      }
    },
  };
})();
