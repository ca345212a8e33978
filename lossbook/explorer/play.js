var ARROW = "M3 1.5l11 6.5l-11 6.5z", BARS = "M3 2h4v12h-4zM9 2h4v12h-4z";

/* A button beside each slider that runs through its settings: from here to the end, or from the start where it is at the end. */
function playerOf(root, fields, current, show, done) {
  var still = window.matchMedia("(prefers-reduced-motion: reduce)");
  var sentence = root.querySelector(".lossbook-sentence > span"), pressed = null, timer;
  var stops = [[document, "visibilitychange", stop], [window, "pagehide", stop], [still, "change", stop], [document, "keydown", escape]];

  function play(button, index, last) {
    var next = current()[index] < last ? current()[index] + 1 : 0;
    function step() {
      var setting = next++;
      show(current().map(function (old, other) { return other === index ? setting : old; }));
      if (setting === last) stop();
    }
    pressed = button;
    face(button, "Pause", BARS);
    if (sentence) sentence.setAttribute("aria-live", "off");
    stops.forEach(function (one) { one[0].addEventListener(one[1], one[2]); });
    timer = setInterval(step, Math.min(100, 6000 / (last - next + 1)));
    step();
  }

  function stop() {
    if (!pressed) return;
    clearInterval(timer);
    stops.forEach(function (one) { one[0].removeEventListener(one[1], one[2]); });
    face(pressed, "Play", ARROW);
    pressed = null;
    setTimeout(speak, 100);
    done();
  }

  /* What is put into a live line is read out, even what stood there before. */
  function speak() {
    if (!sentence || pressed) return;
    sentence.setAttribute("aria-live", "polite");
    sentence.textContent = sentence.textContent;
  }

  function escape(event) {
    if (event.key === "Escape") stop();
  }

  function face(button, verb, shape) {
    button.setAttribute("aria-label", verb + " " + button.nextElementSibling.labels[0].textContent);
    button.firstChild.firstChild.setAttribute("d", shape);
  }

  function add(input, index) {
    var last = Number(input.max), button = document.createElement("button"), svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    button.type = "button";
    button.className = "lossbook-play";
    svg.setAttribute("viewBox", "0 0 16 16");
    svg.setAttribute("aria-hidden", "true");
    svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
    button.appendChild(svg);
    input.before(button);
    face(button, "Play", ARROW);
    button.addEventListener("click", function () {
      var again = pressed === button;
      stop();
      if (!again) play(button, index, last);
    });
  }

  if (!still.matches) fields.forEach(function (inputs, index) {
    if (inputs[0] && inputs[0].type === "range" && inputs[0].max > 2) add(inputs[0], index);
  });
  root.addEventListener("pointerdown", function (event) { if (!event.target.closest(".lossbook-play")) stop(); });
  return { stop: stop };
}
