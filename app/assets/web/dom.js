// @ts-check
// What every component needs: elements, and what Streamlit gives it.

/**
 * What Streamlit gives a component, and how the component answers.
 *
 * @template Data
 * @typedef {object} Component
 * @property {HTMLElement} parentElement where it draws
 * @property {Data} data what Python sent
 * @property {(name: string, value: unknown) => void} setTriggerValue tells Python of an event
 * @property {(name: string, value: unknown) => void} setStateValue tells Python of a lasting value
 */

/**
 * A new element, at the end of its parent if there is one.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string>} [attributes] "text" is its text
 * @param {Element | null} [parent]
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, parent = null) {
  const created = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'text') created.textContent = value;
    else created.setAttribute(name, value);
  }
  parent?.append(created);
  return created;
}

/**
 * The 2D context of a canvas, which every browser that runs the dashboard has.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasRenderingContext2DSettings} [settings]
 * @returns {CanvasRenderingContext2D}
 */
export function penOf(canvas, settings) {
  const pen = canvas.getContext('2d', settings);
  if (!pen) throw new Error('This browser gave no 2D context.');
  return pen;
}

/**
 * Sets an attribute where it differs.
 *
 * @param {Element} target
 * @param {string} name
 * @param {string} value
 */
export function set(target, name, value) {
  if (target.getAttribute(name) !== value) target.setAttribute(name, value);
}

/**
 * Shows a picture; an image without one is hidden.
 *
 * @param {HTMLImageElement} image
 * @param {string} source "" for none
 */
export function picture(image, source) {
  image.hidden = source === '';
  if (source) set(image, 'src', source);
  else image.removeAttribute('src');
}

/**
 * Sets a text where it differs.
 *
 * @param {Node} target
 * @param {string} text
 */
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/**
 * The first `wanted` of a list, which grows and shrinks at its end.
 *
 * @template {{ root: Element }} Part
 * @param {Part[]} parts
 * @param {number} wanted
 * @param {() => Part} create
 */
export function fit(parts, wanted, create) {
  while (parts.length > wanted) parts.pop()?.root.remove();
  while (parts.length < wanted) parts.push(create());
}

/**
 * What went wrong, in words.
 *
 * @param {unknown} error what was caught
 */
export const reasonOf = (error) => (error instanceof Error ? error.message : String(error));

/** The events by which somebody begins to use something: by pointer, by keyboard or with a file. */
export const REACHED = /** @type {const} */ (['pointerover', 'focusin', 'dragenter']);
