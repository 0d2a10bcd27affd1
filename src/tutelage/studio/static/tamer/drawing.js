// The two games on a canvas, in the colours of the page.

const probe = document.createElement("i");
probe.hidden = true;
document.body.append(probe);

/** A colour of palette.css as the canvas takes it: what `light-dark()` comes to now. */
function colour(name) {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

/** The canvas at the resolution of the screen; sizes in its own pixels. */
function begin(canvas) {
  const scale = window.devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const paint = canvas.getContext("2d");
  paint.scale(scale, scale);
  return { paint, width, height };
}

const WIDE = 10;
const TALL = 20;

/** The board while a piece falls. fallen: from 0 (at the top) to 1 (at rest); after: show what the placement left. */
export function tetris(canvas, frame, { fallen, after, marked }) {
  const { paint, width } = begin(canvas);
  const cell = width / WIDE;
  const square = (row, column, fill, line) => {
    const [x, y] = [column * cell, (TALL - 1 - row) * cell];
    paint.beginPath();
    paint.roundRect(x + 1, y + 1, cell - 2, cell - 2, cell / 7);
    if (fill) {
      paint.fillStyle = fill;
      paint.fill();
    }
    if (line) {
      paint.lineWidth = 2;
      paint.strokeStyle = line;
      paint.stroke();
    }
  };
  const rows = after ? frame.after : frame.rows;
  const [settled, falling, line] = [colour("edge"), colour("accent"), colour("line")];
  rows.forEach((row, height) => row.forEach((filled, column) => filled && square(height, column, settled)));
  if (!after) {
    const top = Math.max(...frame.cells.map(([row]) => row));
    const lift = Math.round((1 - fallen) * (TALL - 1 - top));
    for (const [row, column] of frame.cells) square(row, column, null, falling);
    for (const [row, column] of frame.cells) square(row + lift, column, falling);
  } else if (marked && !frame.completed) {
    for (const [row, column] of frame.cells) square(row, column, falling);
  }
  paint.fillStyle = line;
  paint.fillRect(0, TALL * cell, width, 1);
  bars(paint, frame.columns, frame.chosen_column, { left: 0, wide: cell, top: TALL * cell + 4, tall: cell * 2.3 });
}

const hill = (x) => Math.sin(3 * x) * 0.45 + 0.55;
const [LEFT, RIGHT, GOAL] = [-1.2, 0.6, 0.5];

/** The car between its hills, which way it is pushed, and what is expected of each of the three ways. */
export function mountainCar(canvas, frame) {
  const { paint, width, height } = begin(canvas);
  const ground = height * 0.74;
  const x = (position) => ((position - LEFT) / (RIGHT - LEFT)) * (width - 24) + 12;
  const y = (position) => ground - hill(position) * (ground - 40);
  paint.strokeStyle = colour("edge");
  paint.lineWidth = 3;
  paint.beginPath();
  for (let i = 0; i <= 100; i++) paint.lineTo(x(LEFT + (i / 100) * (RIGHT - LEFT)), y(LEFT + (i / 100) * (RIGHT - LEFT)));
  paint.stroke();
  paint.strokeStyle = paint.fillStyle = colour("good");
  paint.beginPath();
  paint.moveTo(x(GOAL), y(GOAL));
  paint.lineTo(x(GOAL), y(GOAL) - 30);
  paint.lineTo(x(GOAL) + 14, y(GOAL) - 24);
  paint.lineTo(x(GOAL), y(GOAL) - 18);
  paint.stroke();
  paint.fill();
  paint.fillStyle = colour("accent");
  paint.beginPath();
  paint.arc(x(frame.position), y(frame.position) - 9, 9, 0, 2 * Math.PI);
  paint.fill();
  arrow(paint, x(frame.position), y(frame.position) - 30, frame.action - 1);
  const wide = Math.min(110, width / 4);
  const left = (width - 3 * wide) / 2;
  bars(paint, frame.columns, frame.action, { left, wide, top: ground + 14, tall: height - ground - 40 });
  paint.fillStyle = colour("soft");
  paint.textAlign = "center";
  paint.font = "13px system-ui, sans-serif";
  ["push left", "roll", "push right"].forEach((name, i) => paint.fillText(name, left + (i + 0.5) * wide, height - 8));
}

function arrow(paint, x, y, way) {
  paint.strokeStyle = colour("ink");
  paint.lineWidth = 2.5;
  paint.beginPath();
  paint.moveTo(x - way * 14, y);
  paint.lineTo(x + way * 14, y);
  if (way) {
    paint.moveTo(x + way * 7, y - 6);
    paint.lineTo(x + way * 14, y);
    paint.lineTo(x + way * 7, y + 6);
  } else {
    paint.arc(x, y, 3, 0, 2 * Math.PI);
  }
  paint.stroke();
}

/** What is expected of each column or action: up is praise, down is blame, beside the largest of them; null: cannot. */
function bars(paint, values, chosen, { left, wide, top, tall }) {
  const largest = Math.max(...values.map((value) => Math.abs(value ?? 0))) || 1;
  const middle = top + tall / 2;
  const [accent, warn, line, ink] = [colour("accent"), colour("warn"), colour("line"), colour("ink")];
  paint.fillStyle = line;
  paint.fillRect(left, middle, wide * values.length, 1);
  values.forEach((value, place) => {
    if (value === null) return;
    const high = (value / largest) * (tall / 2 - 2);
    const x = left + place * wide + wide * 0.18;
    paint.globalAlpha = place === chosen ? 1 : 0.45;
    paint.fillStyle = value < 0 ? warn : accent;
    paint.fillRect(x, Math.min(middle, middle - high), wide * 0.64, Math.max(1, Math.abs(high)));
    paint.globalAlpha = 1;
    if (place === chosen) {
      paint.strokeStyle = ink;
      paint.lineWidth = 1;
      paint.strokeRect(left + place * wide + wide * 0.08, top, wide * 0.84, tall);
    }
  });
}
