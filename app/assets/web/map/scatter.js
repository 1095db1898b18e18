// @ts-check
// Draws a cloud of dots: in WebGL; without it, a sample of them on a plain canvas. A new colour for every dot is one
// buffer of four bytes a dot, so that it may change while something is dragged.

import { dots } from './data.js';
import { whole } from './geometry.js';
import { drawingOrder } from './order.js';

/** @typedef {import('./data.js').Cloud} Cloud */
/** @typedef {import('./geometry.js').Frame} Frame */
/** @typedef {[red: number, green: number, blue: number]} Colour 0…255 */

/**
 * What dots look like.
 *
 * @typedef {object} Dots
 * @property {Colour[]} colours
 * @property {ArrayLike<number>} category an index into `colours` for each image
 * @property {Uint8Array} look of each image: HIDDEN, PALE or STRONG
 */

export const [HIDDEN, PALE, STRONG] = [0, 1, 2];
export const SAMPLE = 5000; // dots that a plain canvas draws

const PALENESS = 0.22; // of a strong dot's opacity
const WIDTH = 256; // of the texture that holds the colours

const VERTEX = `
attribute vec2 place;
attribute vec4 dot; // category % 256, category / 256, look, whether it is a test image
uniform vec4 view;
uniform sampler2D colours;
uniform float rows;
uniform vec2 diameters;
uniform vec2 opacities;
varying vec4 colour;
varying float diameter;
void main() {
  gl_Position = dot.z < 0.5 ? vec4(2.0, 2.0, 2.0, 1.0) : vec4(place * view.xy + view.zw, 0.0, 1.0);
  diameter = dot.w < 0.5 ? diameters.x : diameters.y;
  gl_PointSize = diameter + 1.0;
  colour = texture2D(colours, vec2((dot.x + 0.5) / ${WIDTH}.0, (dot.y + 0.5) / rows));
  colour.a = dot.z < 1.5 ? opacities.x : opacities.y;
}`;

const FRAGMENT = `
precision mediump float;
varying vec4 colour;
varying float diameter;
void main() {
  float away = length(gl_PointCoord - 0.5) * (diameter + 1.0);
  float alpha = colour.a * clamp(0.5 * diameter + 0.5 - away, 0.0, 1.0);
  gl_FragColor = vec4(colour.rgb * alpha, alpha);
}`;

/**
 * @param {HTMLCanvasElement} canvas
 * @returns {Scatter} in WebGL where there is some
 */
export function scatterOn(canvas) {
  const gl = canvas.getContext('webgl', { antialias: false, powerPreference: 'high-performance' });
  if (gl) return new WebGLScatter(canvas, gl);
  const pen = canvas.getContext('2d');
  if (!pen) throw new Error('This browser gave no 2D context.');
  return new PlainScatter(canvas, pen);
}

/**
 * @typedef {object} Scatter
 * @property {boolean} isSample whether it may draw a sample only
 * @property {(cloud: Cloud) => void} place takes the images' places
 * @property {(dots: Dots) => void} paint takes what they look like
 * @property {(frame: Frame, part: number) => void} draw draws this part (0…1) of all dots, a sample if below 1
 * @property {() => void} destroy
 */

/** @implements {Scatter} */
export class WebGLScatter {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {WebGLRenderingContext} gl
   */
  constructor(canvas, gl) {
    this.canvas = canvas;
    this.gl = gl;
    this.isSample = false;
    /** @type {Cloud | null} */
    this.cloud = null;
    /** @type {Uint32Array} */
    this.order = new Uint32Array(0);
    this.words = new Uint32Array(0); // what a dot looks like, in four bytes
    /** @type {Dots | null} */
    this.dots = null;
    /** @type {{ frame: Frame, part: number } | null} */
    this.drawn = null;
    this.lost = (/** @type {Event} */ event) => event.preventDefault(); // asks for it back
    this.restored = () => this.restore();
    canvas.addEventListener('webglcontextlost', this.lost);
    canvas.addEventListener('webglcontextrestored', this.restored);
    this.start();
  }

  start() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, source] of /** @type {[number, string][]} */ ([
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT],
    ])) {
      const shader = gl.createShader(kind);
      if (!shader) return; // the context is lost
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.uniform = (/** @type {string} */ name) => gl.getUniformLocation(program, name);
    this.buffers = { place: gl.createBuffer(), dot: gl.createBuffer() };
    for (const [name, size, type] of /** @type {['place' | 'dot', number, number][]} */ ([
      ['place', 2, gl.FLOAT],
      ['dot', 4, gl.UNSIGNED_BYTE],
    ])) {
      const at = gl.getAttribLocation(program, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, size, type, false, 0, 0);
    }
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER])
      gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
    for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, name, gl.CLAMP_TO_EDGE);
  }

  restore() {
    this.start();
    if (this.cloud) this.place(this.cloud);
    if (this.dots) this.paint(this.dots);
    if (this.drawn) this.draw(this.drawn.frame, this.drawn.part);
  }

  /** @param {Cloud} cloud */
  place(cloud) {
    const { gl } = this;
    this.cloud = cloud;
    this.order = drawingOrder(cloud.train, cloud.total);
    this.words = new Uint32Array(cloud.total);
    const places = new Float32Array(2 * cloud.total);
    this.order.forEach((i, at) => {
      places[2 * at] = cloud.xs[i];
      places[2 * at + 1] = cloud.ys[i];
    });
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers?.place ?? null);
    gl.bufferData(gl.ARRAY_BUFFER, places, gl.STATIC_DRAW);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers?.dot ?? null);
    gl.bufferData(gl.ARRAY_BUFFER, this.words, gl.DYNAMIC_DRAW);
  }

  /** @param {Dots} dots */
  paint(dots) {
    const { gl, order, words, cloud } = this;
    this.dots = dots;
    const { colours, category, look } = dots;
    for (let at = 0; at < order.length; at += 1) {
      const i = order[at];
      words[at] = category[i] | (look[i] << 16); // little end first, as on every machine that has a browser
    }
    words.subarray(cloud?.train ?? 0).forEach((_, at, test) => (test[at] |= 1 << 24));
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers?.dot ?? null);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, words);
    const rows = Math.max(1, Math.ceil(colours.length / WIDTH));
    const texels = new Uint8Array(4 * WIDTH * rows);
    colours.forEach((colour, at) => texels.set(colour, 4 * at));
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, WIDTH, rows, 0, gl.RGBA, gl.UNSIGNED_BYTE, texels);
    gl.uniform1f(this.uniform?.('rows') ?? null, rows);
  }

  /**
   * @param {Frame} frame
   * @param {number} part 0…1
   */
  draw(frame, part) {
    const { gl, canvas, cloud, uniform } = this;
    this.drawn = { frame, part };
    if (!cloud || !uniform) return;
    const ratio = fit(canvas, frame);
    const { x, y } = frame.camera;
    const across = (2 * frame.scale) / frame.size.width;
    const up = (2 * frame.scale) / frame.size.height;
    const { train, test, opacity } = dots(cloud.total, nearness(cloud, frame));
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform4f(uniform('view'), across, up, -x * across, -y * up);
    gl.uniform2f(uniform('diameters'), ratio * train, ratio * test);
    gl.uniform2f(uniform('opacities'), PALENESS * opacity, opacity);
    gl.drawArrays(gl.POINTS, 0, Math.ceil(part * cloud.train));
    gl.drawArrays(gl.POINTS, cloud.train, Math.ceil(part * (cloud.total - cloud.train)));
  }

  destroy() {
    this.canvas.removeEventListener('webglcontextlost', this.lost);
    this.canvas.removeEventListener('webglcontextrestored', this.restored);
    this.gl.getExtension('WEBGL_lose_context')?.loseContext(); // a browser holds few
  }
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

  /** @param {Frame} frame */
  draw(frame) {
    const { pen, cloud } = this;
    const ratio = fit(this.canvas, frame);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, frame.size.width, frame.size.height);
    if (!cloud || !this.dots) return;
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
  const shown = [...order].filter((i) => look[i] !== HIDDEN);
  const split = shown.findIndex((i) => i >= train);
  const first = split < 0 ? shown.length : split;
  const part = Math.min(1, SAMPLE / Math.max(1, shown.length));
  return [
    ...shown.slice(0, Math.floor(part * first)),
    ...shown.slice(first, first + Math.floor(part * (shown.length - first))),
  ];
}

/**
 * @param {Cloud} cloud
 * @param {Frame} frame
 */
const nearness = (cloud, { camera, size }) => whole(cloud, size).side / camera.side;

/**
 * Gives a canvas as many pixels as the screen has there.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {Frame} frame
 * @returns {number} pixels of the screen for one of CSS
 */
export function fit(canvas, { size }) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  return ratio;
}
