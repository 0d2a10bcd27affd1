// Before the first paint, so that a dark room stays dark. A classic script: modules wait for the document.
document.documentElement.dataset.theme = localStorage.getItem("theme") ?? "auto";
