// Before the first paint, so that a dark room stays dark. A classic script: modules wait for the document.
try {
  document.documentElement.dataset.theme = localStorage.getItem("theme") ?? "auto";
} catch {
  // a browser that keeps nothing keeps no theme
}
