// @ts-check
// Crop, rotate and invert, right beside the picture.

import { element } from '../dom.js';
import { drawnRegion, framingText, regionBox, SMALLEST } from './framing.js';

/** @typedef {import('./framing.js').Framing} Framing */

const CROPS = /** @type {const} */ ([
  ['whole', 'As in the data set'],
  ['pad', 'Whole picture, padded'],
  ['region', 'Square region'],
]);
const SIDES = /** @type {const} */ ([
  ['size', 'Size', SMALLEST],
  ['across', 'Across', 0],
  ['down', 'Down', 0],
]);

export class FramingTools {
  /**
   * @param {HTMLElement} place of the buttons
   * @param {HTMLElement} below where a region is chosen
   * @param {(framing: string) => void} change
   */
  constructor(place, below, change) {
    this.change = change;
    /** @type {Framing | null} */
    this.framing = null;
    const bar = element('div', { class: 'kx-framing-bar', role: 'group', 'aria-label': 'Framing' }, place);
    this.crop = element('button', { type: 'button', class: 'kx-pill', text: 'Crop', 'aria-expanded': 'false' }, bar);
    this.rotate = element('button', { type: 'button', class: 'kx-pill', text: 'Rotate' }, bar);
    this.rotate.title = 'By 90° clockwise';
    this.invert = element('button', { type: 'button', class: 'kx-pill', text: 'Invert', 'aria-pressed': 'false' }, bar);
    this.invert.title = 'Dark becomes light';
    this.editor = element('div', { class: 'kx-cropper', hidden: '' }, below);
    this.crops = element('div', { class: 'kx-framing-bar', role: 'group', 'aria-label': 'Crop' }, this.editor);
    for (const [name, text] of CROPS) {
      const button = element('button', { type: 'button', class: 'kx-pill', text, 'data-crop': name }, this.crops);
      button.addEventListener('click', () => this.set({ crop: name }));
    }
    this.picture = element('div', { class: 'kx-crop-picture', title: 'Draw a square' }, this.editor);
    this.image = element('img', { alt: 'Your picture before it is cropped', draggable: 'false' }, this.picture);
    this.box = element('div', { class: 'kx-crop-box', 'aria-hidden': 'true' }, this.picture);
    /** @type {Map<'size' | 'across' | 'down', HTMLInputElement>} */
    this.sliders = new Map();
    this.region = element('div', { class: 'kx-crop-sliders' }, this.editor);
    for (const [name, text, least] of SIDES) {
      const label = element('label', { text }, this.region);
      const slider = element('input', { type: 'range', min: String(least), max: '1', step: '0.01' }, label);
      slider.addEventListener('change', () => this.set({ [name]: Number(slider.value) }));
      this.sliders.set(name, slider);
    }
    this.crop.addEventListener('click', () => this.open(this.editor.hidden));
    this.rotate.addEventListener('click', () => this.set({ turns: ((this.framing?.turns ?? 0) + 1) % 4 }));
    this.invert.addEventListener('click', () => this.set({ inverted: !this.framing?.inverted }));
    this.picture.addEventListener('pointerdown', (event) => this.draw(event));
  }

  /** @param {boolean} open */
  open(open) {
    this.editor.hidden = !open;
    this.crop.setAttribute('aria-expanded', String(open));
  }

  /**
   * @param {Framing} framing
   * @param {string} whole the picture before it is cropped
   */
  update(framing, whole) {
    this.framing = framing;
    if (this.image.src !== whole) this.image.src = whole;
    this.invert.setAttribute('aria-pressed', String(framing.inverted));
    this.crop.classList.toggle('kx-in-use', framing.crop !== 'whole');
    for (const button of this.crops.children) {
      button.setAttribute('aria-pressed', String(button.getAttribute('data-crop') === framing.crop));
    }
    this.region.hidden = framing.crop !== 'region';
    for (const [name, slider] of this.sliders) slider.value = String(framing[name]);
    this.place(framing.crop === 'region' ? framing : null);
  }

  /** @param {Partial<Framing>} part */
  set(part) {
    if (!this.framing) return;
    this.framing = { ...this.framing, ...part };
    this.update(this.framing, this.image.src);
    this.change(framingText(this.framing));
  }

  /**
   * Draws the square of a region; none for null.
   *
   * @param {Pick<Framing, 'size' | 'across' | 'down'> | null} region
   */
  place(region) {
    this.box.hidden = region === null;
    const { naturalWidth: width, naturalHeight: height } = this.image;
    if (!region) return;
    if (!width) {
      void this.image.decode().then(
        () => this.place(region),
        () => undefined, // the picture itself says that it cannot be shown
      );
      return;
    }
    const { left, top, side } = regionBox(region, width, height);
    Object.assign(this.box.style, {
      left: `${(100 * left) / width}%`,
      top: `${(100 * top) / height}%`,
      width: `${(100 * side) / width}%`,
      height: `${(100 * side) / height}%`,
    });
  }

  /** @param {PointerEvent} event */
  draw(event) {
    if (event.button !== 0 || !this.framing) return;
    event.preventDefault();
    const { naturalWidth: width, naturalHeight: height } = this.image;
    const bounds = this.image.getBoundingClientRect();
    const place = (/** @type {PointerEvent} */ { clientX, clientY }) =>
      /** @type {[number, number]} */ ([
        ((clientX - bounds.left) / bounds.width) * width,
        ((clientY - bounds.top) / bounds.height) * height,
      ]);
    const from = place(event);
    const ended = new AbortController();
    const { signal } = ended;
    this.picture.setPointerCapture(event.pointerId);
    this.picture.addEventListener(
      'pointermove',
      (moved) => this.place(drawnRegion(from, place(moved), width, height)),
      { signal },
    );
    this.picture.addEventListener('pointercancel', () => ended.abort(), { signal });
    this.picture.addEventListener(
      'pointerup',
      (last) => {
        ended.abort();
        const to = place(last);
        // a click alone draws no square
        if (Math.hypot(to[0] - from[0], to[1] - from[1]) < 4) this.place(this.framing);
        else this.set({ crop: 'region', ...drawnRegion(from, to, width, height) });
      },
      { signal },
    );
  }
}
