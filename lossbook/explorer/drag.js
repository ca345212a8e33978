/* Where the values at this setting stand in a list over the controls that matter. */
function place(controls, state, sizes) {
  return controls.reduce(function (sum, control) { return sum * sizes[control] + state[control]; }, 0);
}

/* The number of the item at the least distance. */
function nearest(list, distance) {
  var best = 0, least = Infinity;
  list.forEach(function (item, index) {
    var d = distance(item);
    if (d < least) { least = d; best = index; }
  });
  return best;
}

/* A handle over the artist: drag it, and the settings follow whose frame puts the artist nearest to the pointer. */
function handleOf(drag, svg, sizes, current, move) {
  var handle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  handle.setAttribute("class", "lossbook-handle");
  svg.appendChild(handle);
  var grip = null, resized = new ResizeObserver(follow);

  function where(state) {
    var at = 2 * place(drag.by, state, sizes);
    return [drag.at[at], drag.at[at + 1]];
  }

  function pointer(event) {
    var matrix = svg.getScreenCTM().inverse();
    return [matrix.a * event.clientX + matrix.c * event.clientY + matrix.e, matrix.b * event.clientX + matrix.d * event.clientY + matrix.f];
  }

  function follow() {
    var at = where(current());
    handle.setAttribute("visibility", at[0] === null ? "hidden" : "visible");
    if (at[0] === null) return;
    handle.setAttribute("cx", at[0]);
    handle.setAttribute("cy", at[1]);
    handle.setAttribute("r", 22 * svg.viewBox.baseVal.width / (svg.getBoundingClientRect().width || 460));
  }

  function grab(event) {
    var start = pointer(event), at = where(current());
    grip = [at[0] - start[0], at[1] - start[1]];
    handle.setPointerCapture(event.pointerId);
    handle.classList.add("lossbook-held");
    event.preventDefault();
  }

  function pull(event) {
    if (!grip) return;
    var to = pointer(event), x = to[0] + grip[0], y = to[1] + grip[1];
    drag.controls.forEach(function (control) {
      var state = current();
      var settings = Array.from({ length: sizes[control] }, function (_, setting) { return state.map(function (old, index) { return index === control ? setting : old; }); });
      move(control, nearest(settings, function (candidate) {
        var at = where(candidate);
        return at[0] === null ? Infinity : Math.pow(at[0] - x, 2) + Math.pow(at[1] - y, 2);
      }));
    });
  }

  function release() {
    grip = null;
    handle.classList.remove("lossbook-held");
  }

  handle.addEventListener("pointerdown", grab);
  handle.addEventListener("pointermove", pull);
  handle.addEventListener("pointerup", release);
  handle.addEventListener("pointercancel", release);
  handle.addEventListener("touchstart", function (event) { event.preventDefault(); }, { passive: false });
  resized.observe(svg);
  return { follow: follow, end: function () { resized.disconnect(); handle.remove(); } };
}
