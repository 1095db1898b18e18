// @ts-check
// What Explore shows and what its address says. No DOM.

/**
 * What Python gives: addresses and choices.
 *
 * @typedef {object} WorkspaceData
 * @property {string} base where the workspace is
 * @property {string} pictures the folder of thumbnails
 * @property {Model} model
 * @property {string} cloud the address of the images' places in the workspace
 * @property {{ [source: string]: SourceAddresses }} sources all that can be shown without leaving the page
 * @property {string[]} unconverted those of them that the server has to compute first, for which it needs torch
 * @property {string} source the selected one
 * @property {Timeline | null} timeline null without a sweep
 * @property {{ pictures: boolean, edits: boolean, open: boolean }} can what works where this is shown: explaining a
 *     picture, editing prototypes, opening other pages
 * @property {Address} address what the page's address says
 * @property {number} turn how often the page has told of a change, see `Workspace`
 *
 * @typedef {object} Model
 * @property {string} name
 * @property {string} title
 * @property {string} by who predicts: "KMEx", or the kind of model
 * @property {boolean} beside whether a black box predicts, too
 * @property {string[]} classes their names
 * @property {string[]} colours of the classes
 * @property {string[]} attributes their names
 * @property {number[]} sizes of the classes: their training images
 * @property {number[] | null} [numbers] of the images in their splits, where some are left out
 * @property {number} train how many training images
 * @property {number} test how many test images
 * @property {number} side of the network's input, in pixels
 * @property {string} state the fingerprint of the data set
 *
 * @typedef {object} SourceAddresses
 * @property {string} key of the prototypes in the store
 * @property {string} layer
 * @property {string} certainty
 *
 * @typedef {object} Timeline
 * @property {number[]} ks prototypes per class, ascending
 * @property {string[]} sources the source of each
 * @property {Curve[]} curves
 * @property {number} seeds of k-means, over which `values` are means
 * @property {number | null} suggested
 * @property {string} reason why, as a sentence
 * @property {string[]} steps what the last step bought, a sentence for each of `ks`
 * @property {string} about what lines and bands are
 *
 * @typedef {object} Curve
 * @property {'agreement' | 'accuracy' | 'effective' | 'coverage'} name
 * @property {string} title
 * @property {string} unit
 * @property {'higher' | 'lower'} better
 * @property {number[]} values
 * @property {number[]} low
 * @property {number[]} high
 * @property {[number[], number[]] | null} chance the ends of the band of its chance level
 * @property {[number, number]} range of its axis
 * @property {string} about
 *
 * @typedef {object} Address
 * @property {string} colour
 * @property {'all' | 'wrong' | 'disagree'} show
 * @property {string[]} classes names of the classes that are shown; empty for all
 * @property {boolean} test whether test images are drawn
 * @property {string[]} select conditions, see selection.js
 * @property {string} point what is picked: `train-3`, `test-4`, `prototype-<class>.<place>`; "" for nothing
 * @property {string} view what is seen of the map, see map/geometry.js
 * @property {string} picture what the board explains: a digest, `test-3`, `train-5`; "" for nothing
 * @property {string} framing of that picture; "" as it is
 */

/**
 * Whether two addresses say the same.
 *
 * @param {Address} one
 * @param {Address} other
 */
export const sameAddress = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** Who knows what, page or Python: both change the address, and an answer may be late. */
export class Turns {
  constructor() {
    this.turn = 0; // how often Python was told
    /** @type {Address | null} */
    this.told = null; // what both know
    this.dirty = false; // whether Python does not know all yet
  }

  /**
   * Whether what Python gives is newer than anything that was chosen here.
   *
   * @param {number} turn
   */
  counts(turn) {
    return turn === this.turn && !this.dirty;
  }

  /**
   * @param {number} turn
   * @param {Address} address
   */
  take(turn, address) {
    this.turn = turn;
    this.told = address;
  }

  /**
   * Whether Python has to be told of an address. What it was told last counts, not what it gave last: that may be older.
   *
   * @param {Address} address
   */
  isNews(address) {
    return this.dirty || this.told === null || !sameAddress(address, this.told);
  }

  /**
   * @param {Address} address
   * @returns {number} the turn
   */
  tell(address) {
    this.dirty = false;
    this.told = address;
    return ++this.turn;
  }
}

/**
 * The number of prototypes per class of a source on the timeline, null for one that is not on it.
 *
 * @param {Timeline | null} timeline
 * @param {string} source
 * @returns {number | null}
 */
export function kOf(timeline, source) {
  const place = timeline ? timeline.sources.indexOf(source) : -1;
  return timeline && place >= 0 ? timeline.ks[place] : null;
}

/**
 * The sources of a timeline, the nearest to one first: in this order their layers are fetched ahead.
 *
 * @param {Timeline} timeline
 * @param {string} source
 * @returns {string[]}
 */
export function nearestFirst(timeline, source) {
  const middle = Math.max(0, timeline.sources.indexOf(source));
  return [...timeline.sources.keys()]
    .sort((a, b) => Math.abs(a - middle) - Math.abs(b - middle) || b - a)
    .map((place) => timeline.sources[place]);
}

/**
 * A prototype's index by what names it in addresses, -1 for none.
 *
 * @param {import('./columns.js').Layer} layer
 * @param {string} point
 */
export const pickedPrototype = (layer, point) =>
  point.startsWith('prototype-') ? layer.place.indexOf(point.slice('prototype-'.length)) : -1;

/**
 * What a prototype is called in addresses.
 *
 * @param {import('./columns.js').Layer} layer
 * @param {number} p
 */
export const prototypePoint = (layer, p) => `prototype-${layer.place[p]}`;
