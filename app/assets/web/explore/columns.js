// @ts-check
// What a workspace answers, read from its bytes. No DOM.

/**
 * Prototypes on the map, and what they predict for each image.
 *
 * @typedef {object} Layer
 * @property {string} source names where the prototypes come from
 * @property {Summary} summary
 * @property {object | null} scores of edits, see explore/edit.js
 * @property {number[]} x
 * @property {number[]} y
 * @property {number[]} class
 * @property {number[]} share of its class's training images, 0…1
 * @property {number[]} count the number of those images
 * @property {number[]} others training images of other classes that it attracts
 * @property {boolean[]} ghost
 * @property {boolean[]} far whether it is far from all images, so that its position says little
 * @property {number[]} picture the training image that is shown for it; negative for none
 * @property {string[]} place names it in addresses: its class and its place in it
 * @property {string[]} name
 * @property {string[]} note
 * @property {number[]} parent its index in the layer of one prototype fewer; negative for none
 * @property {number[]} [index] after edits that are not saved: the number of each prototype in them
 * @property {Uint8Array | Uint16Array} predicted class of each image
 * @property {Uint8Array | Uint16Array} nearest prototype of each image
 *
 * @typedef {object} Summary
 * @property {number} accuracy
 * @property {number | null} black_box
 * @property {number | null} agreement
 * @property {number} ghosting
 * @property {number} test_images
 */

/**
 * How near each image is to its prototype, and how sure the prediction is.
 *
 * @typedef {{ distance: Float32Array, confidence: Float32Array }} Certainty
 */

/**
 * Which images have each attribute, and of which it is known, as bitsets.
 *
 * @typedef {{ has: Uint8Array[], known: Uint8Array[] }} Attributes
 */

const ALIGNED = 8;
const KINDS = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array };

/** @param {number} bytes */
const padded = (bytes) => Math.ceil(bytes / ALIGNED) * ALIGNED;

/**
 * The header and the columns of an answer.
 *
 * @param {ArrayBuffer} buffer see app.workspace.answer.with_header
 * @returns {{ header: Record<string, unknown>, columns: Record<string, Uint8Array | Uint16Array | Float32Array> }}
 */
export function readColumns(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  /** @type {Record<string, Uint8Array | Uint16Array | Float32Array>} */
  const columns = {};
  let start = padded(4 + length);
  for (const [name, [kind, count]] of Object.entries(header.columns)) {
    const Kind = KINDS[/** @type {keyof typeof KINDS} */ (kind)];
    columns[name] = new Kind(buffer, start, count);
    start += padded(columns[name].byteLength);
  }
  return { header, columns };
}

/**
 * @param {ArrayBuffer} buffer
 * @returns {Layer}
 */
export function readLayer(buffer) {
  const { header, columns } = readColumns(buffer);
  const { source, summary, scores, prototypes } = /** @type {{ [name: string]: object }} */ (header);
  const predicted = columns.predicted ?? classesOf(columns.nearest, /** @type {Layer} */ (prototypes).class);
  return /** @type {Layer} */ (
    /** @type {unknown} */ ({ source, summary, scores, ...prototypes, ...columns, predicted })
  );
}

/**
 * The class of each image's nearest prototype, which is what KMEx predicts.
 *
 * @param {ArrayLike<number>} nearest
 * @param {number[]} classes of the prototypes
 */
function classesOf(nearest, classes) {
  const byPrototype = Uint16Array.from(classes);
  const predicted = new Uint16Array(nearest.length);
  for (let i = 0; i < predicted.length; i += 1) predicted[i] = byPrototype[nearest[i]];
  return predicted;
}

/**
 * @param {ArrayBuffer} buffer
 * @param {number} images
 * @returns {Certainty}
 */
export function readCertainty(buffer, images) {
  return {
    distance: new Float32Array(buffer, 0, images),
    confidence: new Float32Array(buffer, padded(4 * images), images),
  };
}

/**
 * @param {ArrayBuffer} buffer
 * @param {number} attributes
 * @param {number} images
 * @returns {Attributes}
 */
export function readAttributes(buffer, attributes, images) {
  const bytes = Math.ceil(images / 8);
  const part = (/** @type {number} */ i) => new Uint8Array(buffer, i * bytes, bytes);
  return {
    has: Array.from({ length: attributes }, (_, i) => part(i)),
    known: Array.from({ length: attributes }, (_, i) => part(attributes + i)),
  };
}
