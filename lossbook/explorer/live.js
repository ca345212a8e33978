/* The figure of a live notebook: the kernel draws it, and a drag gives the kernel the settings. */
function render(view) {
  var model = view.model, svg = null, drags = model.get("drags"), handles = [];

  function current() { return model.get("state"); }

  function move(control, setting) {
    if (current()[control] === setting) return;
    model.set("state", current().map(function (old, other) { return other === control ? setting : old; }));
    model.save_changes();
    follow();
  }

  function follow() {
    model.get("drags").forEach(function (drag, index) { Object.assign(drags[index], drag); });
    handles.forEach(function (handle) { handle.follow(); });
  }

  /* The handles stay where they are: one that is taken out of the page lets go. */
  function redraw() {
    var next = document.createElement("template");
    next.innerHTML = model.get("value");
    if (!svg) {
      view.el.appendChild(next.content);
      svg = view.el.querySelector("svg");
      handles = drags.map(function (drag) { return handleOf(drag, svg, model.get("sizes"), current, move); });
    } else {
      var drawn = next.content.querySelector("svg");
      Array.from(svg.children).forEach(function (child) { if (!child.matches(".lossbook-handle")) child.remove(); });
      Array.from(drawn.attributes).forEach(function (attribute) { svg.setAttribute(attribute.name, attribute.value); });
      svg.prepend.apply(svg, Array.from(drawn.children));
      say(next.content.querySelector(".lossbook-sentence"));
    }
    follow();
  }

  /* Into the line that is there, since what is put in its place would not be read out. */
  function say(drawn) {
    var line = view.el.querySelector(".lossbook-sentence"), text = drawn ? drawn.textContent : "";
    if (!line && drawn) svg.after(drawn);
    if (!line || line.textContent === text) return;
    line.setAttribute("data-longest", text);
    line.firstChild.textContent = text;
  }

  redraw();
  model.on("change:value", redraw);
  model.on("change:drags", follow);
  return function () {
    model.off("change:value", redraw);
    model.off("change:drags", follow);
    handles.forEach(function (handle) { handle.end(); });
  };
}

export default { render: render };
