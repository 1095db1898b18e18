// What the map uses of regl-scatterplot 1.16.0, whose bundle has no types.

import type { Area, Scale } from '../map/geometry.js';

export interface Points {
  x: Float32Array;
  y: Float32Array;
  z: Float32Array;
  w: Float32Array;
}

export interface Events {
  draw: unknown;
  pointover: number;
  pointout: number;
  select: { points: number[] };
}

export interface Scatterplot {
  set(properties: Record<string, unknown>): void;
  draw(points: Points, options: { zDataType: string; wDataType: string; filter?: number[] }): Promise<void>;
  filter(points: number[]): Promise<void>;
  unfilter(): Promise<void>;
  redraw(): void;
  deselect(options: { preventEvent: boolean }): void;
  zoomToArea(area: Area): Promise<void>;
  subscribe<Name extends keyof Events>(name: Name, act: (event: Events[Name]) => void, times?: number): unknown;
  destroy(): void;
}

export default function createScatterplot(
  properties: { canvas: HTMLCanvasElement; xScale: Scale; yScale: Scale } & Record<string, unknown>,
): Scatterplot;
