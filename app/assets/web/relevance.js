// Pictures with relevance maps over them, and the controls of how they are laid over. All of it is drawn here, so that
// opacity and colours change without the server; the look is one for all maps, for as long as the tab is open.

const KEY = 'kmex-look';
const SIDE = 256; // pixels that the longer side of a map has at least, as in kmex_core.data.display.overlay
const SMALL = 96; // pictures up to this size are enlarged crisply

const shown = new WeakMap();
const listeners = new Set();
const look = { opacity: 85, colours: '' };
let waiting = 0;

// a link says how maps look; without it, it is as it was before the page was loaded again
function recall() {
  let stored = {};
  try {
    stored = JSON.parse(sessionStorage.getItem(KEY)) ?? {};
  } catch {
    // no storage, or not ours: the look is what it is at first
  }
  const link = new URLSearchParams(location.search);
  const opacity = String(link.get('opacity') ?? stored.opacity);
  if (/^\d{1,3}$/.test(opacity) && Number(opacity) <= 100) look.opacity = Number(opacity);
  look.colours = String(link.get('colours') ?? stored.colours ?? '');
}
recall();

function keep() {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(look));
  } catch {
    // no storage: the look is kept until the page is loaded again
  }
}

// Streamlit writes an address of its own after a run, without what it did not put there: say it again
let told = null; // the scales of the controls on this page
for (const name of ['pushState', 'replaceState']) {
  const write = history[name].bind(history);
  history[name] = (...values) => {
    write(...values);
    if (told) tell(told);
  };
}

// the address says what is shown
function tell(scales) {
  const address = new URL(location.href);
  const first = Object.keys(scales)[0];
  for (const [name, value, usual] of [
    ['opacity', String(look.opacity), '85'],
    ['colours', look.colours, first],
  ]) {
    if (value === usual) address.searchParams.delete(name);
    else address.searchParams.set(name, value);
  }
  if (address.href !== location.href) history.replaceState(history.state, '', address);
}

function change(values, scales) {
  Object.assign(look, values);
  keep();
  tell(scales);
  waiting ||= requestAnimationFrame(() => {
    waiting = 0;
    for (const listener of listeners) listener();
  });
}

// not `in` or `??`: a link may name what every object inherits, such as "constructor"
const scaleOf = (scales) => (Object.hasOwn(scales, look.colours) ? scales[look.colours] : Object.values(scales)[0]);

export async function show(component) {
  const { parentElement, data } = component;
  if (!shown.has(parentElement)) {
    const part = data.figures ? new Figures(parentElement) : new Controls(parentElement);
    shown.set(parentElement, part);
    listeners.add(part.listener);
  }
  await shown.get(parentElement).update(data);
  return () => {
    const part = shown.get(parentElement);
    if (!part) return;
    listeners.delete(part.listener);
    if (part instanceof Controls) told = null;
    part.root.remove();
    shown.delete(parentElement);
  };
}

const element = (tag, attributes = {}, parent = null) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'text') made.textContent = value;
    else made.setAttribute(name, value);
  }
  parent?.append(made);
  return made;
};

class Controls {
  constructor(parent) {
    this.root = element('div', { class: 'kx-look' }, parent);
    const opacity = element('label', {}, this.root);
    const name = element('span', { text: 'Map opacity ' }, opacity);
    this.number = element('span', {}, name); // not <output>, which the label would belong to
    this.slider = element('input', { type: 'range', min: '0', max: '100', step: '5' }, opacity);
    this.slider.title = '0% shows the picture only, 100% the map only.';
    const colours = element('label', {}, this.root);
    element('span', { text: 'Colours' }, colours);
    this.choice = element('select', {}, colours);
    const legend = element('div', { class: 'kx-legend' }, this.root);
    this.bar = element('div', { class: 'kx-bar', 'aria-hidden': 'true' }, legend);
    this.words = element('div', { class: 'kx-words', role: 'status' }, legend);
    this.listener = () => this.draw();
    this.slider.addEventListener('input', () => change({ opacity: Number(this.slider.value) }, this.scales));
    this.choice.addEventListener('change', () => change({ colours: this.choice.value }, this.scales));
  }

  update({ scales }) {
    this.scales = scales;
    if (!Object.hasOwn(scales, look.colours)) look.colours = Object.keys(scales)[0];
    this.choice.replaceChildren(...Object.keys(scales).map((name) => element('option', { value: name, text: name })));
    told = scales;
    tell(scales);
    this.draw();
  }

  draw() {
    const { anchors, names } = scaleOf(this.scales);
    this.slider.value = look.opacity;
    this.slider.setAttribute('aria-valuetext', `${look.opacity}%`);
    this.number.textContent = `${look.opacity}%`;
    this.choice.value = look.colours;
    this.bar.style.background = `linear-gradient(90deg,${anchors.map((rgb) => `rgb(${rgb})`).join()})`;
    const [low, middle, high] = names;
    const words = [
      [high[0].toUpperCase() + high.slice(1), ' pixels raise the score, '],
      [middle, ' pixels do not matter, '],
      [low, ' pixels lower it.'],
    ];
    this.words.replaceChildren(
      ...words.flatMap(([name, rest]) => [element('strong', { text: name }), document.createTextNode(rest)]),
    );
  }
}

class Figures {
  constructor(parent) {
    this.root = element('div', { class: 'kx-figures' }, parent);
    this.listener = () => this.draw();
    this.turn = 0;
  }

  async update({ figures, scales, columns }) {
    const turn = ++this.turn;
    this.scales = scales;
    this.root.style.setProperty('--columns', columns);
    this.maps = [];
    const pictures = await Promise.all(figures.map(({ picture }) => loaded(picture)));
    if (turn !== this.turn) return; // newer ones have overtaken these
    this.root.replaceChildren(...figures.map((figure, at) => this.figure(figure, pictures[at])));
    this.draw();
  }

  figure({ picture, map, caption, about, warning }, image) {
    const root = element('figure');
    const crisp = Math.max(image.naturalWidth, image.naturalHeight) <= SMALL;
    if (map) {
      const canvas = element('canvas', { role: 'img', 'aria-label': about }, root);
      this.maps.push(new Overlay(canvas, image, map));
    } else {
      element('img', { src: picture, alt: about, class: crisp ? 'kx-crisp' : '' }, root);
    }
    element('figcaption', { text: caption }, root);
    if (warning) element('p', { class: 'kx-warning', role: 'note', text: `⚠ ${warning}` }, root);
    return root;
  }

  draw() {
    const scale = tableOf(scaleOf(this.scales));
    for (const map of this.maps) map.draw(scale, look.opacity / 100);
  }
}

async function loaded(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

// one map over one picture, as kmex_core.data.display.overlay draws it
class Overlay {
  constructor(canvas, image, { width, height, values, fade }) {
    const { naturalWidth, naturalHeight } = image;
    const factor = Math.max(1, Math.ceil(SIDE / Math.max(naturalWidth, naturalHeight)));
    canvas.width = naturalWidth * factor;
    canvas.height = naturalHeight * factor;
    this.pen = canvas.getContext('2d', { willReadFrequently: true });
    this.pen.imageSmoothingEnabled = false;
    this.pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    this.shown = this.pen.getImageData(0, 0, canvas.width, canvas.height);
    const colours = this.shown.data;
    this.grey = new Uint8Array(colours.length / 4);
    for (let at = 0; at < this.grey.length; at += 1) {
      const [red, green, blue] = [colours[4 * at], colours[4 * at + 1], colours[4 * at + 2]];
      this.grey[at] = (red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16;
    }
    this.fade = fade;
    this.steps = levels(stretched(unpacked(values, fade), width, height, canvas.width, canvas.height));
  }

  draw({ red, green, blue, fades }, opacity) {
    const { grey, steps, fade } = this;
    const weights = Float32Array.from({ length: LEVELS }, (_, at) =>
      fades ? opacity * Math.abs((2 * at) / (LEVELS - 1) - 1) ** fade : opacity,
    );
    const colours = this.shown.data; // Uint8ClampedArray: it rounds and keeps within 0…255
    for (let at = 0; at < grey.length; at += 1) {
      const step = steps[at];
      const weight = weights[step];
      const rest = (1 - weight) * grey[at];
      colours[4 * at] = rest + weight * red[step];
      colours[4 * at + 1] = rest + weight * green[step];
      colours[4 * at + 2] = rest + weight * blue[step];
    }
    this.pen.putImageData(this.shown, 0, 0);
  }
}

const LEVELS = 2047; // odd, so that 0 is one of them

// −1…1 as places in a table
const levels = (values) => Uint16Array.from(values, (value) => Math.round(((value + 1) / 2) * (LEVELS - 1)));

// see kmex_core.images.packed_relevance
function unpacked(text, fade) {
  const bytes = atob(text);
  return Float32Array.from({ length: bytes.length }, (_, at) => {
    const value = ((bytes.charCodeAt(at) << 24) >> 24) / 127;
    return Math.sign(value) * Math.abs(value) ** (1 / fade);
  });
}

// a colour for each level, between the anchors of a scale
function tableOf({ anchors, fades }) {
  const [red, green, blue] = [0, 1, 2].map((channel) =>
    Float32Array.from({ length: LEVELS }, (_, at) => {
      const place = (at / (LEVELS - 1)) * (anchors.length - 1);
      const low = Math.min(Math.floor(place), anchors.length - 2);
      return anchors[low][channel] + (place - low) * (anchors[low + 1][channel] - anchors[low][channel]);
    }),
  );
  return { red, green, blue, fades };
}

// bilinear, with antialiasing where there are fewer pixels than values, as Pillow's resize
function stretched(values, width, height, toWidth, toHeight) {
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

// for each pixel, which values it is made of and how much of each
function shares(count, pixels) {
  const step = count / pixels;
  const reach = Math.max(1, step);
  return Array.from({ length: pixels }, (_, at) => {
    const centre = (at + 0.5) * step;
    const first = Math.max(0, Math.floor(centre - reach + 0.5));
    const last = Math.min(count, Math.floor(centre + reach + 0.5));
    const parts = [];
    for (let from = first; from < last; from += 1) {
      parts.push([from, Math.max(0, 1 - Math.abs((from + 0.5 - centre) / reach))]);
    }
    const whole = parts.reduce((sum, [, share]) => sum + share, 0);
    return parts.map(([from, share]) => [from, share / whole]);
  });
}
