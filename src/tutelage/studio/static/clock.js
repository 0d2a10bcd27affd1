// How long a person looked at a question: when it was painted, when it was answered, and for how much of that the page
// was seen and used. What keys were pressed is not kept.

const IDLE_MS = 60000;
const TICK_MS = 1000;

let lastInput = performance.now();
for (const kind of ["keydown", "pointerdown", "pointermove", "wheel", "touchstart"]) {
  window.addEventListener(kind, () => (lastInput = performance.now()), { passive: true });
}

export class Clock {
  constructor() {
    this.start();
    setInterval(() => this.tick(), TICK_MS);
    document.addEventListener("visibilitychange", () => {
      this.tick();
      if (document.hidden) this.away.push(Math.round(performance.now() - this.painted));
    });
  }

  start() {
    this.shownAt = Date.now() / 1000;
    this.painted = this.last = performance.now();
    this.seen = this.active = 0;
    this.away = [];
  }

  tick() {
    const now = performance.now();
    const passed = Math.min(now - this.last, 2 * TICK_MS); // a sleeping machine is nobody's time
    if (!document.hidden) {
      this.seen += passed;
      if (now - lastInput < IDLE_MS) this.active += passed;
    }
    this.last = now;
  }

  times() {
    this.tick();
    return {
      shown_at: this.shownAt,
      answered_at: Date.now() / 1000,
      seen_ms: Math.round(this.seen),
      active_ms: Math.round(this.active),
      left_at_ms: this.away.slice(0, 50),
    };
  }
}
