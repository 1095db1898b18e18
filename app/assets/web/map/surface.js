// @ts-check
// Draws the map once before the screen is painted next: the dots below, what is painted over them above.

import { penOf } from '../dom.js';
import { Palette, parsed } from './colour.js';
import { Pace } from './detail.js';
import { fit, looks } from './dots.js';
import { Frame } from './geometry.js';
import { paint } from './painting.js';
import { scatterOn } from './scatter.js';
import { between } from './steps.js';

/** @typedef {import('./geometry.js').Point} Point */
/** @typedef {import('./painting.js').Painting} Painting */
/** @typedef {import('./component.js').Shown} Shown */

const STILL = 150; // milliseconds after a move, after which all dots are drawn again
const GLIDE = 150; // milliseconds

const isCalm = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

export class Surface {
  /**
   * @param {HTMLElement} root
   * @param {HTMLCanvasElement} canvas for the dots
   * @param {HTMLCanvasElement} over for what is painted over them
   * @param {() => void} drawn is told of each drawing
   */
  constructor(root, canvas, over, drawn) {
    this.root = root;
    this.over = over;
    this.drawn = drawn;
    this.palette = new Palette(root);
    this.scatter = scatterOn(canvas);
    this.frame = new Frame({ x: 0, y: 0, side: 2 }, { width: 1, height: 1 });
    /** @type {Painting | null} */
    this.scene = null;
    /** @type {Shown | null} */
    this.shown = null; // whose dots are drawn
    this.pace = new Pace();
    this.moved = -Infinity; // when it last did
    this.glide = { from: /** @type {Point[]} */ ([]), start: -Infinity };
    this.dots = false; // whether they are to be drawn
    this.things = false; // and whether what is over them is
    this.asked = 0; // for a frame
    this.still = 0;
    this.dark = matchMedia('(prefers-color-scheme: dark)');
    this.recolour = () => this.refresh(false);
    this.dark.addEventListener('change', this.recolour);
    this.paper = matchMedia('print');
    this.print = () => this.drawNow(); // no frame comes before the page is on paper
    this.paper.addEventListener('change', this.print);
  }

  /**
   * Gives the dots other colours, and hides or pales some.
   *
   * @param {Shown} given
   */
  paintDots(given) {
    this.shown = given;
    const { cloud, paint: colouring, shown, selected } = given;
    const look = looks(cloud.total, shown, selected);
    const colours = colouring.colours.map((colour) => parsed(this.palette.colour(colour)));
    this.scatter.paint({ colours, category: colouring.category, look });
    this.refresh(true);
  }

  /** @param {Point[] | null} from where the prototypes glide from; null if they do not */
  glideFrom(from) {
    const glides = from !== null && !isCalm();
    this.glide = { from: glides ? from : [], start: glides ? performance.now() : -Infinity };
  }

  /**
   * @param {import('./geometry.js').Camera} camera
   * @param {import('./geometry.js').Size} [size]
   */
  aim(camera, size = this.frame.size) {
    this.frame = new Frame(camera, size);
    if (this.scene) this.scene.frame = this.frame;
    this.refresh(true);
  }

  /** Tells that the map moves under a hand: few dots are drawn where all would be slow. */
  move() {
    this.moved = performance.now();
  }

  /** @param {boolean} dots whether they are drawn anew, too */
  refresh(dots) {
    this.dots ||= dots;
    this.things = true;
    this.ask();
  }

  ask() {
    this.asked ||= requestAnimationFrame((now) => this.draw(now));
  }

  /**
   * @param {number} now
   * @param {number} [most] dots that there is time for
   */
  draw(now, most = this.pace.dots) {
    this.asked = 0;
    if (!this.scene || !this.root.isConnected) return;
    if (this.things && this.palette.isNew() && this.shown) this.paintDots(this.shown);
    if (this.dots) this.drawDots(now, most);
    if (!this.things) return;
    this.things = false;
    this.drawOver(now, this.scene);
    if (now < this.glide.start + GLIDE) this.refresh(false);
    this.drawn();
  }

  drawNow() {
    this.dots = true;
    this.things = true;
    this.draw(performance.now(), Infinity);
  }

  /**
   * @param {number} now
   * @param {number} most dots that there is time for
   */
  drawDots(now, most) {
    this.dots = false;
    const isMoving = performance.now() - this.moved < STILL;
    const { drawn, isDone } = this.scatter.draw(this.frame, { most, isMoving });
    clearTimeout(this.still);
    this.root.dataset.dots = isDone ? 'all' : 'some'; // for tests
    if (drawn) requestAnimationFrame((next) => this.pace.judge(next - now, drawn));
    if (isDone) return;
    if (isMoving) this.still = window.setTimeout(() => this.more(), STILL);
    else this.more();
  }

  /** More of the dots, where a frame had no time for all. */
  more() {
    this.dots = true;
    this.ask();
  }

  /**
   * @param {number} now
   * @param {Painting} scene
   */
  drawOver(now, scene) {
    const { width, height } = this.frame.size;
    const ratio = fit(this.over, this.frame);
    const pen = penOf(this.over);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const part = (now - this.glide.start) / GLIDE;
    const places = part < 1 ? between(this.glide.from, scene.places, Math.max(0, part)) : scene.places;
    const squares = scene.squares.map((colour) => this.palette.colour(colour));
    paint(
      pen,
      { ...scene, places, squares },
      {
        ink: this.palette.colour('var(--kx-ink)'),
        paper: this.palette.colour('var(--kx-page)'),
        accent: this.palette.colour('var(--kx-accent)'),
        font: getComputedStyle(this.root).fontFamily,
      },
    );
  }

  destroy() {
    clearTimeout(this.still);
    cancelAnimationFrame(this.asked);
    this.dark.removeEventListener('change', this.recolour);
    this.paper.removeEventListener('change', this.print);
    this.scatter.destroy();
  }
}
