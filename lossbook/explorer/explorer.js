/* Moves the figures of lossbook.explore: swaps, for the chosen setting, the attributes, texts and groups in which its frame differs. */
var NUMBER = /(-?\d*\.?\d+(?:e-?\d+)?)/;

function start(root) {
  root.setAttribute("data-ready", "");
  rename(root);
  var data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
  var svg = root.querySelector("svg");
  var nodes = [svg].concat(Array.from(svg.querySelectorAll("*")));
  var sentence = root.querySelector(".lossbook-sentence > span");
  var state = data.controls.map(function (control) { return control.at; });
  var slots = data.rows.map(function (row) { return slotOf(row, nodes, data); });
  var form = root.querySelector("form");
  var fields = data.controls.map(function (control, index) { return form.querySelectorAll("[data-control='" + index + "']"); });
  var pending;

  function show(next) {
    state = next;
    slots.forEach(function (slot) { slot(state); });
    var text = data.sentence[1][place(data.sentence[0], state, data.sizes)];
    if (sentence && sentence.textContent !== text) sentence.textContent = text;
    fields.forEach(function (inputs, index) { display(inputs, data.controls[index], state[index]); });
    handles.forEach(function (handle) { handle.follow(); });
  }

  function current() { return state; }

  function move(index, setting) {
    player.stop();
    if (state[index] === setting) return;
    show(state.map(function (old, other) { return other === index ? setting : old; }));
    clearTimeout(pending);
    pending = setTimeout(remember, 200);
  }

  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.addEventListener("input", function (event) {
    move(Number(event.target.getAttribute("data-control")), read(event.target));
  });

  /* The address: #id.control=value, one pair a control, beside those of other figures. */
  function remember() {
    var pairs = location.hash.slice(1).split("&").filter(function (pair) { return pair.indexOf("=") > 0 && pair.indexOf(root.id + ".") !== 0; });
    data.controls.forEach(function (control, index) {
      if (control.texts.length > 1) pairs.push(root.id + "." + encodeURIComponent(control.name) + "=" + encodeURIComponent(control.texts[state[index]]));
    });
    try { history.replaceState(history.state, "", "#" + pairs.join("&")); } catch (error) { /* a sandboxed frame has no address of its own */ }
  }

  function recall() {
    var next = state.slice(), mine = false;
    location.hash.slice(1).split("&").forEach(function (pair) {
      var cut = pair.indexOf("=");
      if (cut < 0 || pair.indexOf(root.id + ".") !== 0) return;
      mine = true;
      var key, value;
      try { key = decodeURIComponent(pair.slice(root.id.length + 1, cut)); value = decodeURIComponent(pair.slice(cut + 1)); } catch (error) { return; }
      data.controls.forEach(function (control, index) {
        if (control.name === key) next[index] = settingOf(control, value, next[index]);
      });
    });
    if (!mine) return false;
    player.stop();
    show(next);
    return true;
  }

  var handles = data.drags.map(function (drag) { return handleOf(drag, svg, data.sizes, current, move); });
  var player = playerOf(root, fields, current, show, remember);
  root.querySelector("fieldset").disabled = false;
  if (recall()) root.scrollIntoView();
  else show(state);
  window.addEventListener("hashchange", recall);
}

/* The same figure may stand on a page twice: the later one takes a name of its own. */
function rename(root) {
  for (var twin = 2, name = root.id; document.getElementById(root.id) !== root; twin++) root.id = name + "-" + twin;
  if (root.id === name) return;
  root.querySelectorAll("form [id]").forEach(function (field) { field.id = root.id + field.id.slice(name.length); });
  root.querySelectorAll("form [for]").forEach(function (label) { label.setAttribute("for", root.id + label.getAttribute("for").slice(name.length)); });
}

function slotOf(row, nodes, data) {
  var node = nodes[row[0]], name = row[1], controls = row[2], shown = -1;
  var value = row.length > 4 ? numbersOf(row, node) : function (at) { return row[3][at] < 0 ? null : data.strings[row[3][at]]; };
  return function (state) {
    var at = place(controls, state, data.sizes);
    if (at === shown) return;
    shown = at;
    var next = value(at);
    if (name === "") node.textContent = next;
    else if (name === "<") node.innerHTML = next;
    else if (next === null) node.removeAttribute(name);
    else node.setAttribute(name, next);
  };
}

/* Undo the differences, once; then a value is the text that is there with some of its numbers replaced. */
function numbersOf(row, node) {
  var scale = Math.pow(10, row[4]), lag = row[5], framewise = row[6], numbers = Int32Array.from(row[7]);
  var parts = node.getAttribute(row[1]).split(NUMBER), width = row[3].length, sum = 0;
  var holes = row[3].map(function (step) { sum += step; return 2 * sum + 1; });
  for (var i = 0; i < numbers.length; i++) if (lag && i % width >= lag) numbers[i] += numbers[i - lag];
  for (i = width; i < numbers.length; i++) if (framewise) numbers[i] += numbers[i - width];
  return function (at) {
    holes.forEach(function (hole, index) { parts[hole] = numbers[at * width + index] / scale; });
    return parts.join("");
  };
}

function read(input) {
  return input.type === "checkbox" ? Number(input.checked) : input.tagName === "SELECT" ? input.selectedIndex : Number(input.value);
}

function display(inputs, control, setting) {
  inputs.forEach(function (input) {
    if (input.tagName === "OUTPUT") input.textContent = control.texts[setting];
    else if (input.type === "checkbox") input.checked = setting === 1;
    else if (input.type === "radio") input.checked = Number(input.value) === setting;
    else if (input.tagName === "SELECT") input.selectedIndex = setting;
    else if (input.type === "range") {
      input.value = setting;
      input.setAttribute("aria-valuetext", control.texts[setting]);
    }
  });
}

/* The setting that reads like this, or else the nearest number. */
function settingOf(control, text, otherwise) {
  var exact = control.texts.indexOf(text);
  if (exact >= 0 || control.kind !== "range" || !text.trim() || !isFinite(text)) return exact >= 0 ? exact : otherwise;
  return nearest(control.texts, function (candidate) { return Math.abs(candidate - text); });
}

document.querySelectorAll(".lossbook-explorer:not([data-ready])").forEach(start);
