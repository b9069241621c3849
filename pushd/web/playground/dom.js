// A few words for the document, so that the other files speak of people.

/** Returns the element with this id. */
export const $ = (id) => document.getElementById(id);

/** Makes an element with these properties around these children. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Returns a new copy of what a template holds. */
export function copyOf(id) {
  return $(id).content.firstElementChild.cloneNode(true);
}

/** Puts a new item in front of a list, and drops the last ones beyond `most`. */
export function putFirst(list, item, most) {
  list.prepend(item);
  while (list.childElementCount > most) list.lastElementChild.remove();
}

/** Shows text in an element, unless it is there already: what did not change is not read out. */
export function say(where, text) {
  if (where.textContent !== text) where.textContent = text;
}

/** Runs at most once in a frame, however often it is asked for. */
export function inNextFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}

/** Tells those who do not look what happened, not more often than they can listen. */
export const announce = (() => {
  let timer;
  return (text) => {
    clearTimeout(timer);
    timer = setTimeout(() => say($("news"), text), 400);
  };
})();

/** Returns a time of day for a time in Unix seconds. */
export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString();
}
