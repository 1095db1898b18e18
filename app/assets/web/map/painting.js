// @ts-check
// What is painted over the cloud: prototypes, the names of the classes, a ring around what is selected.

import { classFilter } from './data.js';
import { prototypePlace, ringOf, sideOf, sizeFor } from './geometry.js';

/** @typedef {import('./geometry.js').Scene} Scene */
/** @typedef {{ ink: string, paper: string, font: string }} Style */

const MOST_NAMES = 40; // more would cover the map

/**
 * @param {CanvasRenderingContext2D} pen clear, in CSS pixels
 * @param {Scene} scene
 * @param {Style} style
 */
export function paint(pen, scene, style) {
  paintFar(pen, scene, style);
  paintPrototypes(pen, scene, style);
  paintNames(pen, scene, style);
  paintRing(pen, scene, style);
}

/**
 * A cross over each image that is far from all others.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {Scene} scene
 * @param {Style} style
 */
function paintFar(pen, { x, y, cloud, far }, { ink }) {
  pen.beginPath();
  for (const i of far) cross(pen, x(cloud.xs[i]), y(cloud.ys[i]), 4);
  pen.lineWidth = 1.2;
  pen.strokeStyle = ink;
  pen.stroke();
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {number} x
 * @param {number} y
 * @param {number} reach
 */
function cross(pen, x, y, reach) {
  pen.moveTo(x - reach, y - reach);
  pen.lineTo(x + reach, y + reach);
  pen.moveTo(x - reach, y + reach);
  pen.lineTo(x + reach, y - reach);
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Scene} scene
 * @param {Style} style
 */
function paintPrototypes(pen, scene, { ink, paper }) {
  const { layer, data } = scene;
  const isWanted = classFilter(data.classes);
  const size = sizeFor(layer.x.length);
  for (let p = layer.x.length - 1; p >= 0; p -= 1) {
    if (!isWanted(layer.class[p])) continue;
    const [x, y] = prototypePlace(scene, p);
    outline(pen, x, y, sideOf(layer, p), layer.ghost[p]);
    pen.fillStyle = data.colours[layer.class[p]];
    pen.fill();
    pen.lineWidth = 3.5 * size;
    pen.strokeStyle = paper;
    pen.stroke();
    pen.lineWidth = 1.8 * size;
    pen.strokeStyle = ink;
    pen.setLineDash(layer.ghost[p] ? [3, 2] : []);
    pen.stroke();
    pen.setLineDash([]);
    if (layer.far[p]) {
      pen.beginPath();
      cross(pen, x, y, sideOf(layer, p));
      pen.stroke();
    }
  }
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {number} x
 * @param {number} y
 * @param {number} side
 * @param {boolean} ghost a diamond instead of a square
 */
function outline(pen, x, y, side, ghost) {
  pen.beginPath();
  if (ghost) {
    pen.moveTo(x, y - side);
    pen.lineTo(x + side, y);
    pen.lineTo(x, y + side);
    pen.lineTo(x - side, y);
    pen.closePath();
  } else {
    pen.rect(x - side / 2, y - side / 2, side, side);
  }
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Scene} scene
 * @param {Style} style
 */
function paintNames(pen, { x, y, cloud, data }, { ink, paper, font }) {
  const isWanted = classFilter(data.classes);
  const names = cloud.names.filter(([label]) => isWanted(label));
  if (names.length > MOST_NAMES) return;
  pen.font = `600 13px ${font}`;
  pen.textAlign = 'center';
  pen.lineJoin = 'round';
  for (const [label, left, top] of names) {
    const text = data.names[label];
    pen.lineWidth = 4;
    pen.strokeStyle = paper;
    pen.strokeText(text, x(left), y(top) - 14);
    pen.fillStyle = ink;
    pen.fillText(text, x(left), y(top) - 14);
  }
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Scene} scene
 * @param {Style} style
 */
function paintRing(pen, scene, { ink, paper }) {
  const ring = ringOf(scene, scene.data.selected);
  if (!ring) return;
  for (const { width, colour } of [
    { width: 6, colour: paper },
    { width: 2.5, colour: ink },
  ]) {
    pen.beginPath();
    pen.arc(ring.place[0], ring.place[1], ring.radius, 0, 2 * Math.PI);
    pen.lineWidth = width;
    pen.strokeStyle = colour;
    pen.stroke();
  }
}
