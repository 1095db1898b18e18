// @ts-check
// Lays a relevance map over a picture, as kmex_core.data.display.overlay does. Arrays only, no DOM.

/** @typedef {[red: number, green: number, blue: number]} Rgb 0…255 */

/**
 * A scale of colours, from −1 to 1.
 *
 * @typedef {object} Scale
 * @property {Rgb[]} anchors evenly spaced
 * @property {[low: string, middle: string, high: string]} names of its colours
 * @property {boolean} fades whether the picture shows through where relevance is near 0
 */

/** @typedef {{ red: Float32Array, green: Float32Array, blue: Float32Array, fades: boolean }} Table a colour per level */

/** @typedef {[left: number, top: number, right: number, bottom: number]} Box */

const PALE = 0.75; // how much white pixels outside a map have, as in kmex_core.data.display

export const LEVELS = 2047; // odd, so that 0 is one of them

/**
 * Relevance, −1…1, as levels of a table.
 *
 * @param {Float32Array} values
 */
export const levels = (values) => Uint16Array.from(values, (value) => Math.round(((value + 1) / 2) * (LEVELS - 1)));

/**
 * Relevance, −1…1, of what kmex_core.data.display.packed_relevance has packed.
 *
 * @param {string} text in base64
 * @param {number} fade
 */
export function unpacked(text, fade) {
  const bytes = atob(text);
  return Float32Array.from({ length: bytes.length }, (_, i) => {
    const value = ((bytes.charCodeAt(i) << 24) >> 24) / 127;
    return Math.sign(value) * Math.abs(value) ** (1 / fade);
  });
}

/**
 * A colour for each level, between the anchors of a scale.
 *
 * @param {Scale} scale
 * @returns {Table}
 */
export function tableOf({ anchors, fades }) {
  const [red, green, blue] = [0, 1, 2].map((channel) =>
    Float32Array.from({ length: LEVELS }, (_, level) => {
      const place = (level / (LEVELS - 1)) * (anchors.length - 1);
      const low = Math.min(Math.floor(place), anchors.length - 2);
      return anchors[low][channel] + (place - low) * (anchors[low + 1][channel] - anchors[low][channel]);
    }),
  );
  return { red, green, blue, fades };
}

/**
 * A picture in grey, as Pillow converts it.
 *
 * @param {Uint8ClampedArray} pixels RGBA
 */
export const greyOf = (pixels) =>
  Uint8Array.from(
    { length: pixels.length / 4 },
    (_, i) => (pixels[4 * i] * 19595 + pixels[4 * i + 1] * 38470 + pixels[4 * i + 2] * 7471 + 32768) >> 16,
  );

/**
 * Where a map is on its picture, in whole pixels and at least one of them wide and high.
 *
 * @param {Box} box as shares of the picture's width and height
 * @param {number} width
 * @param {number} height
 * @returns {Box}
 */
export function boxPixels([left, top, right, bottom], width, height) {
  const x = Math.min(width - 1, Math.floor(left * width + 0.5));
  const y = Math.min(height - 1, Math.floor(top * height + 0.5));
  return [x, y, Math.max(x + 1, Math.floor(right * width + 0.5)), Math.max(y + 1, Math.floor(bottom * height + 0.5))];
}

/**
 * Writes a grey picture that is nearly white into `pixels`: what the network does not see.
 *
 * @param {Uint8ClampedArray} pixels RGBA
 * @param {Uint8Array} grey
 */
export function blanch(pixels, grey) {
  for (let i = 0; i < grey.length; i += 1) {
    pixels.fill((1 - PALE) * grey[i] + PALE * 255, 4 * i, 4 * i + 3);
  }
}

/**
 * Writes the colours of a map over a grey picture into `pixels`; their alpha stays.
 *
 * @param {Uint8ClampedArray} pixels RGBA; it rounds and keeps within 0…255
 * @param {Uint8Array} grey
 * @param {Uint16Array} steps a level per pixel
 * @param {Table} table
 * @param {number} opacity 0…1
 * @param {number} fade
 */
export function blend(pixels, grey, steps, { red, green, blue, fades }, opacity, fade) {
  const weights = Float32Array.from({ length: LEVELS }, (_, level) =>
    fades ? opacity * Math.abs((2 * level) / (LEVELS - 1) - 1) ** fade : opacity,
  );
  for (let i = 0; i < grey.length; i += 1) {
    const step = steps[i];
    const weight = weights[step];
    const rest = (1 - weight) * grey[i];
    pixels[4 * i] = rest + weight * red[step];
    pixels[4 * i + 1] = rest + weight * green[step];
    pixels[4 * i + 2] = rest + weight * blue[step];
  }
}

/**
 * Bilinear, with antialiasing where there are fewer pixels than values, as Pillow's resize.
 *
 * @param {Float32Array} values row by row
 * @param {number} width
 * @param {number} height
 * @param {number} toWidth
 * @param {number} toHeight
 */
export function stretched(values, width, height, toWidth, toHeight) {
  const across = shares(width, toWidth);
  const down = shares(height, toHeight);
  const rows = new Float32Array(height * toWidth);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < toWidth; x += 1) {
      let sum = 0;
      for (const [from, share] of across[x]) sum += values[y * width + from] * share;
      rows[y * toWidth + x] = sum;
    }
  }
  const result = new Float32Array(toHeight * toWidth);
  for (let y = 0; y < toHeight; y += 1) {
    for (const [from, share] of down[y]) {
      for (let x = 0; x < toWidth; x += 1) result[y * toWidth + x] += rows[from * toWidth + x] * share;
    }
  }
  return result;
}

/**
 * For each pixel, which values it is a mean of, and how much of each.
 *
 * @param {number} count of values
 * @param {number} pixels
 * @returns {[from: number, share: number][][]}
 */
export function shares(count, pixels) {
  const step = count / pixels;
  const reach = Math.max(1, step);
  return Array.from({ length: pixels }, (_, pixel) => {
    const centre = (pixel + 0.5) * step;
    const first = Math.max(0, Math.floor(centre - reach + 0.5));
    const last = Math.min(count, Math.floor(centre + reach + 0.5));
    /** @type {[from: number, share: number][]} */
    const parts = [];
    for (let from = first; from < last; from += 1) {
      parts.push([from, Math.max(0, 1 - Math.abs((from + 0.5 - centre) / reach))]);
    }
    const whole = parts.reduce((sum, [, share]) => sum + share, 0);
    return parts.map(([from, share]) => [from, share / whole]);
  });
}
