// Server-sent events: something is new in the store, or the run has moved. A lost connection is taken up again. A page
// that nobody looks at listens to nothing: a browser has few connections for one server.

const AGAIN_MS = 5000;

export function listen(hear) {
  let source = null;

  function open() {
    if (source || document.hidden) return;
    source = new EventSource("/api/news");
    source.onmessage = (event) => hear(JSON.parse(event.data));
    source.onerror = () => {
      if (source?.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      source = null;
      setTimeout(open, AGAIN_MS);
    };
  }

  function close() {
    source?.close();
    source = null;
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  open();
}
