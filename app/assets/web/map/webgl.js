// @ts-check
// Dots and pictures of dots, drawn by WebGL.

/** @typedef {import('./detail.js').Area} Area */
/** @typedef {import('./detail.js').Range} Range */
/** @typedef {import('./geometry.js').Frame} Frame */

/**
 * How dots are drawn.
 *
 * @typedef {object} Style
 * @property {[train: number, test: number]} diameters in pixels of the screen
 * @property {[pale: number, strong: number]} opacities
 * @property {Area | null} without dots in this area
 */

const WIDTH = 256; // of the texture that holds the colours
const NOWHERE = /** @type {Area} */ ([9, 9, -9, -9]);

const DOTS = [
  `
attribute vec2 place;
attribute vec4 dot; // category % 256, category / 256, look, whether it is a test image
uniform vec4 view;
uniform vec4 without;
uniform sampler2D colours;
uniform float rows;
uniform vec2 diameters;
uniform vec2 opacities;
varying vec4 colour;
varying float diameter;
void main() {
  bool isLeftOut = all(greaterThan(place, without.xy)) && all(lessThan(place, without.zw));
  gl_Position = dot.z < 0.5 || isLeftOut ? vec4(2.0, 2.0, 2.0, 1.0) : vec4(place * view.xy + view.zw, 0.0, 1.0);
  diameter = dot.w < 0.5 ? diameters.x : diameters.y;
  gl_PointSize = diameter + 1.0;
  colour = texture2D(colours, vec2((dot.x + 0.5) / ${WIDTH}.0, (dot.y + 0.5) / rows));
  colour.a = dot.z < 1.5 ? opacities.x : opacities.y;
}`,
  `
precision mediump float;
varying vec4 colour;
varying float diameter;
void main() {
  float away = length(gl_PointCoord - 0.5) * (diameter + 1.0);
  float alpha = colour.a * clamp(0.5 * diameter + 0.5 - away, 0.0, 1.0);
  gl_FragColor = vec4(colour.rgb * alpha, alpha);
}`,
];

const PICTURE = [
  `
attribute vec2 corner; // 0 or 1
uniform vec4 box;
varying vec2 at;
void main() {
  gl_Position = vec4(box.xy + corner * box.zw, 0.0, 1.0);
  at = corner;
}`,
  `
precision mediump float;
uniform sampler2D picture;
varying vec2 at;
void main() {
  gl_FragColor = texture2D(picture, at);
}`,
];

/** A picture in the memory of the graphics card, in which dots are gathered over several frames. */
export class Picture {
  /** @param {WebGL2RenderingContext} gl */
  constructor(gl) {
    this.texture = gl.createTexture();
    this.buffer = gl.createFramebuffer();
    this.width = 0; // pixels
    this.height = 0;
  }
}

/** What a graphics card knows of a cloud, and what it can draw of it. */
export class Card {
  /** @param {WebGL2RenderingContext} gl */
  constructor(gl) {
    this.gl = gl;
    this.dots = programOf(gl, DOTS, ['place', 'dot']);
    this.picture = programOf(gl, PICTURE, ['corner']);
    this.buffers = { place: gl.createBuffer(), dot: gl.createBuffer(), index: gl.createBuffer() };
    this.corners = gl.createBuffer();
    this.colours = gl.createTexture();
    this.rows = 1;
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.clearColor(0, 0, 0, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.corners);
    gl.bufferData(gl.ARRAY_BUFFER, Uint8Array.of(0, 0, 1, 0, 0, 1, 1, 1), gl.STATIC_DRAW);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.buffers.index);
  }

  /**
   * @param {Float32Array} places x and y of each dot, in the drawing order
   * @param {Uint32Array} words what each looks like
   */
  place(places, words) {
    const { gl, buffers } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers.place);
    gl.bufferData(gl.ARRAY_BUFFER, places, gl.STATIC_DRAW);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers.dot);
    gl.bufferData(gl.ARRAY_BUFFER, words, gl.DYNAMIC_DRAW);
  }

  /**
   * @param {Uint32Array} words what each dot looks like
   * @param {[red: number, green: number, blue: number][]} colours
   */
  paint(words, colours) {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers.dot);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, words);
    this.rows = Math.max(1, Math.ceil(colours.length / WIDTH));
    const texels = new Uint8Array(4 * WIDTH * this.rows);
    colours.forEach((colour, at) => texels.set(colour, 4 * at));
    gl.bindTexture(gl.TEXTURE_2D, this.colours);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, WIDTH, this.rows, 0, gl.RGBA, gl.UNSIGNED_BYTE, texels);
    this.sampleBy(gl.NEAREST);
  }

  /** @param {Uint32Array} index the dots that can be drawn */
  choose(index) {
    const { gl } = this;
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, index, gl.DYNAMIC_DRAW);
  }

  /**
   * Where everything is drawn from now on.
   *
   * @param {Picture | null} picture null for the canvas
   * @param {number} width in pixels
   * @param {number} height
   */
  aim(picture, width, height) {
    const { gl } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, picture?.buffer ?? null);
    gl.viewport(0, 0, width, height);
    if (!picture || (picture.width === width && picture.height === height)) return;
    gl.bindTexture(gl.TEXTURE_2D, picture.texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, picture.texture, 0);
    [picture.width, picture.height] = [width, height];
  }

  clear() {
    this.gl.clear(this.gl.COLOR_BUFFER_BIT);
  }

  /**
   * Draws some of the chosen dots.
   *
   * @param {Frame} frame
   * @param {Style} style
   * @param {Range[]} ranges
   */
  draw(frame, { diameters, opacities, without }, ranges) {
    const { gl, dots } = this;
    const { x, y } = frame.camera;
    const across = (2 * frame.scale) / frame.size.width;
    const up = (2 * frame.scale) / frame.size.height;
    gl.useProgram(dots.program);
    this.read(0, 2, gl.FLOAT, this.buffers.place);
    this.read(1, 4, gl.UNSIGNED_BYTE, this.buffers.dot);
    gl.bindTexture(gl.TEXTURE_2D, this.colours);
    gl.uniform1f(dots.at('rows'), this.rows);
    gl.uniform4f(dots.at('view'), across, up, -x * across, -y * up);
    gl.uniform4f(dots.at('without'), ...(without ?? NOWHERE));
    gl.uniform2f(dots.at('diameters'), ...diameters);
    gl.uniform2f(dots.at('opacities'), ...opacities);
    for (const { first, count } of ranges) {
      if (count > 0) gl.drawElements(gl.POINTS, count, gl.UNSIGNED_INT, 4 * first);
    }
  }

  /**
   * Draws a picture that was drawn for another frame where it belongs in this one.
   *
   * @param {Picture} picture
   * @param {Frame} drawn
   * @param {Frame} frame
   */
  show(picture, drawn, frame) {
    const { gl } = this;
    const { width, height } = frame.size;
    const ratio = frame.scale / drawn.scale;
    const x = (2 * (drawn.camera.x - frame.camera.x) * frame.scale) / width;
    const y = (2 * (drawn.camera.y - frame.camera.y) * frame.scale) / height;
    gl.useProgram(this.picture.program);
    gl.disableVertexAttribArray(1);
    this.read(0, 2, gl.UNSIGNED_BYTE, this.corners);
    gl.bindTexture(gl.TEXTURE_2D, picture.texture);
    this.sampleBy(ratio === 1 ? gl.NEAREST : gl.LINEAR);
    gl.uniform4f(this.picture.at('box'), x - ratio, y - ratio, 2 * ratio, 2 * ratio);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  /**
   * @param {number} at the place of an attribute
   * @param {number} size
   * @param {number} type
   * @param {WebGLBuffer | null} buffer
   */
  read(at, size, type, buffer) {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, size, type, false, 0, 0);
  }

  /** @param {number} filter */
  sampleBy(filter) {
    const { gl } = this;
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, filter);
    for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, name, gl.CLAMP_TO_EDGE);
  }
}

/**
 * @param {WebGL2RenderingContext} gl
 * @param {string[]} sources of the vertex and the fragment shader
 * @param {string[]} attributes in the order of their places
 */
function programOf(gl, sources, attributes) {
  const program = gl.createProgram();
  [gl.VERTEX_SHADER, gl.FRAGMENT_SHADER].forEach((kind, at) => {
    const shader = gl.createShader(kind);
    if (!shader) return; // the context is lost
    gl.shaderSource(shader, sources[at]);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  });
  attributes.forEach((name, at) => gl.bindAttribLocation(program, at, name));
  gl.linkProgram(program);
  /** @type {Map<string, WebGLUniformLocation | null>} */
  const known = new Map();
  const at = (/** @type {string} */ name) => {
    if (!known.has(name)) known.set(name, gl.getUniformLocation(program, name));
    return known.get(name) ?? null;
  };
  return { program, at };
}
