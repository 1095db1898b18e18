// @ts-check
'use strict';

// The page of a report: fills in pictures, draws the embedding map, and follows the slider. Everything is in the page;
// names become text, never markup.

{
  /** @type {Report} */
  const data = JSON.parse(document.getElementById('data')?.textContent ?? '');

  /**
   * @typedef {{points: string, classes: string, images: string, far: string, extent: number[], prototypes: {
   *   places: string, classes: number[], importance: number[], counts: number[], far: boolean[]}}} EmbeddingMap
   * @typedef {{places: number[][][], values: string[], suggested: number | null, suggestedOfClass: number[] | null,
   *   pictures: number[][][][]}} Sweep
   * @typedef {{classes: string[], colours: string[], thumbnails: Record<string, string>, small: number,
   *   map: EmbeddingMap | null, sweep: Sweep | null}} Report
   */

  /** An image gets its thumbnail; small ones keep their pixels sharp.
   * @param {HTMLImageElement} image
   * @param {number | string} number of the training image
   */
  function fill(image, number) {
    image.addEventListener('load', () => {
      image.classList.toggle('small', Math.max(image.naturalWidth, image.naturalHeight) <= data.small);
    });
    image.src = data.thumbnails[number];
  }

  for (const image of document.querySelectorAll('img')) {
    fill(image, image.dataset.image ?? '');
  }

  // ---- the slider -----------------------------------------------------------------------------------------------

  const slider = document.getElementById('k');
  if (data.sweep && slider instanceof HTMLInputElement) {
    const sweep = data.sweep;
    const number = /** @type {HTMLElement} */ (document.getElementById('k-number'));
    const values = /** @type {HTMLElement} */ (document.getElementById('k-values'));
    const pictures = /** @type {HTMLElement} */ (document.getElementById('k-pictures'));
    const marks = [...document.querySelectorAll('.mark')];

    const show = () => {
      const k = Number(slider.value);
      number.textContent = k === sweep.suggested ? `${k} (suggested)` : `${k}`;
      slider.setAttribute('aria-valuetext', `${k} per class${k === sweep.suggested ? ', suggested' : ''}`);
      values.textContent = sweep.values[k - 1];
      marks.forEach((mark, chart) => {
        const [x, y] = sweep.places[chart][k - 1];
        mark.setAttribute('cx', `${x}`);
        mark.setAttribute('cy', `${y}`);
      });
      const rows = sweep.pictures[k - 1] ?? [];
      pictures.replaceChildren(...rows.map((cards, label) => classRow(cards, label, k)));
      if (rows.length === 0) {
        pictures.textContent = 'The pictures of this number are left out to keep this file small.';
      }
    };
    slider.addEventListener('input', show);
    show();
  }

  /** A class with the pictures of its prototypes.
   * @param {number[][]} cards the training image of each, and its share of the class
   * @param {number} label
   * @param {number} k
   */
  function classRow(cards, label, k) {
    const row = document.createElement('div');
    const heading = document.createElement('h4');
    heading.append(swatch(data.colours[label]), data.classes[label]);
    if (data.sweep?.suggestedOfClass?.[label] === k) {
      const suggested = document.createElement('small');
      suggested.textContent = ' (suggested for this class)';
      heading.append(suggested);
    }
    const list = document.createElement('div');
    list.className = 'cards';
    list.append(
      ...cards.map(([image, share], place) => {
        const card = document.createElement('figure');
        card.className = 'card';
        const picture = document.createElement('img');
        picture.alt = `Prototype ${place + 1} of ${k} of ${data.classes[label]}: training image ${image}`;
        picture.dataset.image = `${image}`;
        picture.width = picture.height = 72;
        fill(picture, image);
        const text = document.createElement('figcaption');
        text.textContent = `${(100 * share).toFixed(1)}%`;
        card.append(picture, text);
        return card;
      }),
    );
    row.append(heading, list);
    return row;
  }

  /** @param {string} colour */
  function swatch(colour) {
    const space = 'http://www.w3.org/2000/svg';
    const picture = document.createElementNS(space, 'svg');
    const spot = document.createElementNS(space, 'rect');
    for (const [name, value] of Object.entries({ width: '12', height: '12', rx: '2', fill: colour })) {
      spot.setAttribute(name, value);
    }
    for (const [name, value] of Object.entries({ viewBox: '0 0 12 12', width: '12', height: '12' })) {
      picture.setAttribute(name, value);
    }
    picture.setAttribute('aria-hidden', 'true');
    picture.append(spot);
    return picture;
  }

  // ---- the map --------------------------------------------------------------------------------------------------

  const canvas = document.querySelector('.map canvas');
  const hint = document.querySelector('.hint');
  if (data.map && canvas instanceof HTMLCanvasElement && hint instanceof HTMLElement) {
    drawMap(data.map, canvas, hint);
  }

  /** The bytes of a base64 text.
   * @param {string} text
   */
  function bytes(text) {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  }

  /**
   * @param {EmbeddingMap} map
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLElement} hint
   */
  function drawMap(map, canvas, hint) {
    const points = new Uint16Array(bytes(map.points));
    const classes = new Uint16Array(bytes(map.classes));
    const images = new Uint32Array(bytes(map.images));
    const far = new Uint8Array(bytes(map.far));
    const { importance, counts } = map.prototypes;
    const places = new Uint16Array(bytes(map.prototypes.places));
    const margin = 16;
    const near = 12; // pixels between the pointer and what it points at
    let scale = 1;
    let height = 1;
    let left = margin;

    /** Where a point is in the canvas, in CSS pixels; the second axis points up.
     * @param {Uint16Array} of
     * @param {number} row
     */
    const place = (of, row) => [
      left + (of[2 * row] / 65535) * scale,
      height - margin - (of[2 * row + 1] / 65535) * scale,
    ];

    /** @param {number} p */
    const half = (p) => 4 + 8 * Math.sqrt(importance[p]);

    /**
     * @param {CanvasRenderingContext2D} pen
     * @param {number} x
     * @param {number} y
     * @param {number} size
     */
    function cross(pen, x, y, size) {
      pen.beginPath();
      pen.moveTo(x - size, y - size);
      pen.lineTo(x + size, y + size);
      pen.moveTo(x - size, y + size);
      pen.lineTo(x + size, y - size);
      pen.stroke();
    }

    function draw() {
      const pen = canvas.getContext('2d');
      const width = canvas.clientWidth;
      if (!pen || width === 0) {
        return;
      }
      const [across, up] = map.extent.map((length) => Math.max(length, 0.05));
      scale = Math.min((width - 2 * margin) / across, (560 - 2 * margin) / up);
      height = scale * up + 2 * margin;
      left = (width - scale * across) / 2;
      const density = window.devicePixelRatio || 1;
      canvas.width = Math.round(width * density);
      canvas.height = Math.round(height * density);
      canvas.style.height = `${height}px`;
      pen.scale(density, density);
      const ink = getComputedStyle(canvas).color;
      const radius = classes.length > 5000 ? 1.5 : 3;
      for (let row = 0; row < classes.length; row += 1) {
        const [x, y] = place(points, row);
        pen.globalAlpha = 0.55;
        pen.fillStyle = pen.strokeStyle = data.colours[classes[row]];
        if (far[row]) {
          cross(pen, x, y, radius + 1);
        } else {
          pen.beginPath();
          pen.arc(x, y, radius, 0, 2 * Math.PI);
          pen.fill();
        }
      }
      pen.globalAlpha = 1;
      pen.lineWidth = 1.5;
      for (let p = 0; p < counts.length; p += 1) {
        const [x, y] = place(places, p);
        const size = half(p);
        pen.strokeStyle = ink;
        pen.fillStyle = data.colours[map.prototypes.classes[p]];
        pen.beginPath();
        if (counts[p] === 0) {
          pen.moveTo(x, y - 7);
          pen.lineTo(x + 7, y);
          pen.lineTo(x, y + 7);
          pen.lineTo(x - 7, y);
          pen.closePath();
          pen.strokeStyle = pen.fillStyle;
          pen.lineWidth = 2.5;
        } else {
          pen.rect(x - size, y - size, 2 * size, 2 * size);
          pen.fill();
          pen.lineWidth = 1.5;
        }
        pen.stroke();
        if (map.prototypes.far[p]) {
          pen.strokeStyle = ink;
          cross(pen, x, y, 4);
        }
      }
    }

    /** What is at a place of the canvas, in words; "" for nothing.
     * @param {number} across
     * @param {number} down
     */
    function at(across, down) {
      for (let p = counts.length - 1; p >= 0; p -= 1) {
        const [x, y] = place(places, p);
        if (Math.max(Math.abs(x - across), Math.abs(y - down)) <= half(p) + 1) {
          const what = counts[p] === 0 ? 'a ghost' : `nearest prototype of ${counts[p]} images of its class`;
          return `Prototype ${p}, ${data.classes[map.prototypes.classes[p]]}: ${what}`;
        }
      }
      let best = near ** 2;
      let text = '';
      for (let row = 0; row < classes.length; row += 1) {
        const [x, y] = place(points, row);
        const apart = (x - across) ** 2 + (y - down) ** 2;
        if (apart < best) {
          best = apart;
          text = `Training image ${images[row]}, ${data.classes[classes[row]]}`;
        }
      }
      return text;
    }

    canvas.addEventListener('pointermove', (event) => {
      const text = at(event.offsetX, event.offsetY);
      hint.hidden = text === '';
      hint.textContent = text;
      const most = canvas.clientWidth - hint.offsetWidth;
      hint.style.left = `${Math.max(0, Math.min(event.offsetX + 14, most))}px`;
      hint.style.top = `${event.offsetY + 18}px`;
    });
    canvas.addEventListener('pointerleave', () => {
      hint.hidden = true;
    });
    new ResizeObserver(draw).observe(/** @type {Element} */ (canvas.parentElement));
    for (const query of ['(prefers-color-scheme: dark)', 'print']) {
      window.matchMedia(query).addEventListener('change', draw);
    }
  }
}
