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

const INK = 'var(--kx-ink)'; // each theme has another

/** What the names of colours mean on this page and in its theme. */
export class Palette {
  /** @param {HTMLElement} parent */
  constructor(parent) {
    const probe = () => {
      const made = document.createElement('span');
      made.hidden = true;
      parent.append(made);
      return made;
    };
    this.ink = probe();
    this.ink.style.color = INK;
    this.probe = probe();
    /** @type {Map<string, string>} */
    this.known = new Map(); // what a browser has said, which takes it long
  }

  /** Whether the theme is another one than when this was asked before: then colours are found anew. */
  isNew() {
    const ink = getComputedStyle(this.ink).color;
    if (ink === this.known.get(INK)) return false;
    this.known = new Map([[INK, ink]]);
    return true;
  }

  /**
   * @param {string} text a colour, or a custom property: "var(--kx-ink)"
   * @returns {string} one that a canvas takes
   */
  colour(text) {
    if (!text.startsWith('var(')) return text;
    const known = this.known.get(text);
    if (known !== undefined) return known;
    this.probe.style.color = text;
    const found = getComputedStyle(this.probe).color;
    this.known.set(text, found);
    return found;
  }
}
