// @ts-check
// Colours as numbers. They are named in the page's styles; a browser says which ones they are in this theme.

/** @typedef {[red: number, green: number, blue: number]} Colour 0…255 */

/**
 * @param {string} text "#rrggbb", or "rgb(r, g, b)" as a browser writes it
 * @returns {Colour}
 */
export function parsed(text) {
  const hex = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text);
  const parts = hex ? hex.slice(1).map((part) => parseInt(part, 16)) : (text.match(/[\d.]+/g) ?? []).map(Number);
  return [parts[0] ?? 0, parts[1] ?? 0, parts[2] ?? 0];
}

/**
 * A colour between two.
 *
 * @param {Colour} one
 * @param {Colour} other
 * @param {number} share of the other one, 0…1
 * @returns {Colour}
 */
export const mixed = (one, other, share) =>
  /** @type {Colour} */ (one.map((value, at) => Math.round(value + share * (other[at] - value))));

/** @param {Colour} colour */
export const written = (colour) => `#${colour.map((value) => value.toString(16).padStart(2, '0')).join('')}`;

/** What the names of colours mean on this page and in its theme. */
export class Palette {
  /** @param {HTMLElement} parent */
  constructor(parent) {
    this.probe = document.createElement('span');
    this.probe.hidden = true;
    parent.append(this.probe);
  }

  /**
   * @param {string} text a colour, or a custom property: "var(--kx-ink)"
   * @returns {string} one that a canvas takes
   */
  colour(text) {
    if (!text.startsWith('var(')) return text;
    this.probe.style.color = text;
    return getComputedStyle(this.probe).color;
  }
}
