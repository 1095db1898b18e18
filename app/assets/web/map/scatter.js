// @ts-check
// Draws a cloud of dots: in WebGL; without it, a sample of them on a plain canvas.

import { dots } from './data.js';
import { HIDDEN, PALE, PALENESS, fit, nearness } from './dots.js';
import { drawingOrder } from './order.js';
import { WebGLScatter } from './webgl_scatter.js';

/** @typedef {import('./data.js').Cloud} Cloud */
/** @typedef {import('./geometry.js').Frame} Frame */
/** @typedef {import('./dots.js').Dots} Dots */
/** @typedef {import('./dots.js').Scatter} Scatter */

export const SAMPLE = 5000; // dots that a plain canvas draws

/**
 * @param {HTMLCanvasElement} canvas
 * @returns {Scatter} in WebGL where there is some
 */
export function scatterOn(canvas) {
  const gl = canvas.getContext('webgl2', { antialias: false, powerPreference: 'high-performance' });
  if (gl) return new WebGLScatter(canvas, gl);
  const pen = canvas.getContext('2d');
  if (!pen) throw new Error('This browser gave no 2D context.');
  return new PlainScatter(canvas, pen);
}

/** @implements {Scatter} */
export class PlainScatter {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {CanvasRenderingContext2D} pen
   */
  constructor(canvas, pen) {
    this.canvas = canvas;
    this.pen = pen;
    this.isSample = true;
    /** @type {Cloud | null} */
    this.cloud = null;
    /** @type {Uint32Array} */
    this.order = new Uint32Array(0);
    /** @type {Dots | null} */
    this.dots = null;
    /** @type {number[]} */
    this.sample = [];
  }

  /** @param {Cloud} cloud */
  place(cloud) {
    this.cloud = cloud;
    this.order = drawingOrder(cloud.train, cloud.total);
  }

  /** @param {Dots} dots */
  paint(dots) {
    this.dots = dots;
    this.sample = this.cloud ? sampleOf(this.order, this.cloud.train, dots.look) : [];
  }

  /**
   * @param {Frame} frame
   * @returns {{ drawn: number, isDone: boolean }}
   */
  draw(frame) {
    const { pen, cloud } = this;
    const ratio = fit(this.canvas, frame);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, frame.size.width, frame.size.height);
    if (!cloud || !this.dots) return { drawn: 0, isDone: true };
    const { colours, category, look } = this.dots;
    const { train, test, opacity } = dots(this.sample.length, nearness(cloud, frame));
    const styles = colours.map((colour) => `rgb(${colour})`);
    for (const i of this.sample) {
      const side = i < cloud.train ? train : test;
      pen.globalAlpha = look[i] === PALE ? PALENESS * opacity : opacity;
      pen.fillStyle = styles[category[i]];
      pen.fillRect(frame.x(cloud.xs[i]) - side / 2, frame.y(cloud.ys[i]) - side / 2, side, side);
    }
    pen.globalAlpha = 1;
    return { drawn: this.sample.length, isDone: true };
  }

  destroy() {}
}

/**
 * The dots that a plain canvas draws: at most SAMPLE of those shown, of training and test images alike.
 *
 * @param {Uint32Array} order as they are drawn
 * @param {number} train the number of training images
 * @param {Uint8Array} look
 * @returns {number[]}
 */
export function sampleOf(order, train, look) {
  const shown = [0, 0]; // of each split
  for (let i = 0; i < look.length; i += 1) if (look[i] !== HIDDEN) shown[i < train ? 0 : 1] += 1;
  const part = Math.min(1, SAMPLE / Math.max(1, shown[0] + shown[1]));
  const left = shown.map((images) => Math.floor(part * images));
  const sample = [];
  for (let at = 0; at < order.length && left[0] + left[1]; at += 1) {
    const split = order[at] < train ? 0 : 1;
    if (look[order[at]] === HIDDEN || !left[split]) continue;
    left[split] -= 1;
    sample.push(order[at]);
  }
  return sample;
}
