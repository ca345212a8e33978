"""The house style: colours that everyone can tell apart, one look a loss, and SVG that is small, deterministic, themeable and safe."""

from __future__ import annotations

import re
from itertools import combinations
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from lossbook import margins
from lossbook.book import plots
from lossbook.explorer import _matplotlib, _still, _svg
from lossbook.explorer._layout import Layout

SERIES = ("blue", "orange", "green", "red", "purple", "sky", "yellow")

# Machado, Oliveira, Fernandes (2009), severity 1, in linear RGB: how the three kinds of dichromats see a colour.
SIGHT = {
    "trichromat": np.eye(3),
    "protanope": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranope": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "tritanope": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}


def linear(color: str) -> np.ndarray:
    """sRGB to linear RGB (IEC 61966-2-1)."""
    channels = np.array([int(color[index : index + 2], 16) / 255 for index in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Linear RGB to Oklab (Ottosson, 2020), where distances are about what the eye sees: 0.02 is just noticeable."""
    cones = np.array(
        [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566], [0.0883024619, 0.2817188376, 0.6299787005]]
    )
    mixed = np.array(
        [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099], [0.0259040371, 0.7827717662, -0.8086757660]]
    )
    return mixed @ np.cbrt(cones @ np.clip(rgb, 0, 1))


def contrast(first: str, second: str) -> float:
    """WCAG 2.2's contrast ratio."""
    light, dark = sorted((linear(color) @ [0.2126, 0.7152, 0.0722] for color in (first, second)), reverse=True)
    return float((light + 0.05) / (dark + 0.05))


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_lines_stand_out_from_the_paper(theme: int) -> None:
    paper = plots.PALETTE["paper"][theme]
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    for name in ("ink", "muted"):
        assert contrast(plots.PALETTE[name][theme], paper) >= 4.5
    for name in SERIES:
        assert contrast(plots.PALETTE[name][theme], paper) >= 3


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("sight", SIGHT)
def test_everyone_can_tell_the_colours_apart(sight: str, theme: int) -> None:
    seen = {name: oklab(SIGHT[sight] @ linear(plots.PALETTE[name][theme])) for name in (*SERIES, "ink")}
    for one, other in combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 0.07, (one, other)


def test_colours_are_the_light_half_of_the_palette() -> None:
    assert {name: light for name, (light, _) in plots.PALETTE.items()} == plots.COLORS
    assert set(plots.COLORS) >= {"ink", "muted", "grid", "paper", *SERIES}
    assert len(set(plots.COLORS.values())) == len(plots.COLORS)


def test_each_loss_has_a_look_and_no_two_share_one() -> None:
    assert set(margins.LOSSES) <= set(plots.LOSS_STYLES)
    looks = {name: (style["color"], str(style["linestyle"])) for name, style in plots.LOSS_STYLES.items()}
    aliases = {"logistic2": "log2", "cross_entropy": "logistic"}
    for one, other in combinations(looks, 2):
        same = aliases.get(one) == other or aliases.get(other) == one
        assert (looks[one] == looks[other]) is same, (one, other)


def test_losses_drawn_together_differ_by_dash_as_well() -> None:
    together = ("zero_one", "hinge", "logistic", "exponential", "squared", "ramp", "squared_hinge")
    assert len({str(plots.LOSS_STYLES[name]["linestyle"]) for name in together}) == len(together)
    assert len({plots.LOSS_STYLES[name]["color"] for name in together}) == len(together)


def test_the_cycle_changes_dash_with_colour() -> None:
    cycle = plots.style()["axes.prop_cycle"].by_key()
    assert len(cycle["color"]) == len({str(dash) for dash in cycle["linestyle"]}) == 7


def test_subplots_belong_to_no_window_manager() -> None:
    figure, axes = plots.subplots(2, 3, width=8, height=4, sharex=True)
    assert axes.shape == (2, 3)
    assert figure.get_size_inches().tolist() == [8, 4]
    assert pyplot.get_fignums() == []


def test_text_is_ten_pixels_tall_on_a_phone() -> None:
    for width in (4.0, 6.4, 10.0):
        figure, axes = plots.subplots(width=width)
        axes.set_title("title")
        svg = drawn(figure)
        base = float(svg.attrib["font-size"])
        sizes = [float(text.attrib["font-size"].removesuffix("em")) * base for text in svg.iter("text")]
        assert min(sizes) * 310 / float(svg.attrib["viewBox"].split()[2]) >= 10


def drawn(figure: Figure) -> ElementTree.Element:
    """The figure's SVG, read back from its HTML."""
    html = plots.to_html(figure, alt="A figure.").html
    return ElementTree.fromstring(html[html.index("<svg") : html.index("</svg>") + 6])


def test_two_drawings_are_the_same_bytes() -> None:
    pages = []
    for _ in range(2):
        figure, axes = plots.subplots()
        axes.plot([1, 3, 2], "o-")
        axes.fill_between([0, 1], [1, 2], hatch="/")
        pages.append(plots.to_html(figure, alt="A line.").html)
    assert pages[0] == pages[1]
    assert str(np.datetime64("today"))[:4] not in pages[0].partition("<svg")[2]


def test_palette_colours_become_custom_properties() -> None:
    figure, axes = plots.subplots()
    axes.plot([0, 1], color=plots.COLORS["blue"])
    axes.plot([1, 0], color="black")
    axes.plot([1, 1], color="#123456")
    axes.axhline(0, color="white", alpha=0.5)
    strokes = [path.get("stroke") for path in drawn(figure).iter("path")]
    assert {"var(--lossbook-blue,#003baf)", "var(--lossbook-ink,#1f2430)", "#123456", "var(--lossbook-paper,#ffffff)"} <= set(strokes)
    style = plots.stylesheet()
    for name, (light, dark) in plots.PALETTE.items():
        assert f"--lossbook-{name}:{light};" in style
        assert f"--lossbook-{name}:{dark};" in style


def test_there_is_no_background_to_show_in_the_dark() -> None:
    figure, axes = plots.subplots()
    figure.set_facecolor("white")
    areas = [path.get("fill") for path in drawn(figure).iter("path")]
    assert set(areas) == {"none"}
    assert figure.get_facecolor() == (1, 1, 1, 1)
    assert axes.get_facecolor() == (0, 0, 0, 0)


def test_nothing_that_a_strict_policy_forbids() -> None:
    figure, axes = plots.subplots()
    axes.plot([1, 2], "s--", label="line")
    axes.scatter([1, 2], [1, 2], c=[0.2, 0.8])
    axes.imshow(np.eye(3))
    axes.annotate("here", (1, 1), (2, 2), arrowprops={"arrowstyle": "->"})
    axes.set_title("$x^2$")
    axes.legend()
    svg = drawn(figure)
    assert not [element.tag for element in svg.iter() if element.tag in ("style", "script", "foreignObject", "metadata")]
    assert not [name for element in svg.iter() for name in element.attrib if name == "style" or name.startswith("on")]
    assert [image.get("href", "")[:22] for image in svg.iter("image")] == ["data:image/png;base64,"]


def test_text_stays_text() -> None:
    figure, axes = plots.subplots()
    axes.set(title="φ(m) & <tags>", xlabel="margin")
    texts = ["".join(text.itertext()) for text in drawn(figure).iter("text")]
    assert {"φ(m) & <tags>", "margin", "0.0", "1.0"} <= set(texts)


def test_a_link_that_runs_a_script_is_cut() -> None:
    figure, axes = plots.subplots()
    axes.text(0.2, 0.2, "good", url="https://example.org/")
    axes.text(0.5, 0.5, "bad", url="javascript:alert(1)")
    axes.text(0.7, 0.7, "worse", url="data:text/html,<script>alert(1)</script>")
    assert [link.get("href") for link in drawn(figure).iter("a")] == ["https://example.org/", None, None]


def test_ids_are_kept_only_where_something_refers_to_them() -> None:
    figure, axes = plots.subplots()
    axes.plot([1, 2], "o", gid="mine")
    svg = drawn(figure)
    ids = [element.get("id") for element in svg.iter() if element.get("id")]
    text = ElementTree.tostring(svg, encoding="unicode")
    assert len(ids) == len(set(ids)) > 0
    assert all(text.count(f"#{identity})") + text.count(f'"#{identity}"') > 0 for identity in ids)
    assert [element.tag for element in svg.iter() if element.get("data-gid") == "mine"] == ["g"]


def test_numbers_are_rounded_to_a_hundredth_of_a_point() -> None:
    figure, axes = plots.subplots()
    axes.plot(np.linspace(0, 1, 7), np.exp(np.linspace(0, 30, 7)))
    axes.set_ylim(0, 3)
    for path in drawn(figure).iter("path"):
        for number in re.findall(r"-?[\d.]+", path.get("d", "")):
            assert re.fullmatch(r"-?\d+(\.\d{1,2})?", number)
            assert abs(float(number)) <= 1e6


def test_a_line_keeps_its_points_beyond_the_edge() -> None:
    figure, axes = plots.subplots()
    axes.plot(np.linspace(0, 1, 300), np.linspace(-50, 50, 300), color="#123456")
    axes.set(ylim=(0, 1))
    (line,) = [path.get("d", "") for path in drawn(figure).iter("path") if path.get("stroke") == "#123456"]
    assert line.count("L") == 299


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(1.0, 2, "1"), (1.005, 2, "1"), (-0.001, 2, "0"), (12.3456, 2, "12.35"), (100.0, 0, "100"), (0.5, 3, "0.5"), (1e300, 2, "1000000")],
)
def test_numbers_read_as_javascript_prints_them(value: float, decimals: int, text: str) -> None:
    assert _svg._short(value, decimals) == text


def test_the_figure_is_as_it_was() -> None:
    figure, _ = plots.subplots()
    before = (figure.dpi, figure.canvas, figure.get_facecolor())
    plots.to_html(figure, alt="Axes.")
    assert (figure.dpi, figure.canvas, figure.get_facecolor()) == before


def test_a_kept_layout_gives_the_same_picture() -> None:
    def make() -> Figure:
        figure, axes = plots.subplots(1, 2)
        figure.suptitle("both")
        for panel in axes:
            panel.plot([0, 1, 5], [1, 2, 3000])
            panel.set(xlabel="x", ylabel="y", title="one")
        axes[1].yaxis.set_label_position("right")
        axes[1].set_xlabel("far", loc="right")
        return figure

    with _matplotlib.rc_context(plots.style()):
        first, second = make(), make()
        free = _svg.markup(_svg.to_svg(first))
        layout = Layout.of(first)
        assert layout is not None
        layout.apply(second)
        assert _svg.markup(_svg.to_svg(second)) == free


def test_show_displays_html_and_closes_pyplot(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr("lossbook.explorer._still.display", shown.append)
    with matplotlib.rc_context(plots.style()):
        figure, _ = pyplot.subplots()
    plots.show(figure, alt="Empty axes.")
    assert pyplot.get_fignums() == []
    (thing,) = shown
    bundle = thing._repr_mimebundle_()
    assert bundle["text/plain"] == "Empty axes."
    assert 'role="img" aria-label="Empty axes."' in bundle["text/html"]


def test_errors_name_parameter_expectation_and_finding() -> None:
    figure, axes = plots.subplots()
    with pytest.raises(TypeError, match=r"`figure` should be a matplotlib figure; found Axes\."):
        plots.to_html(axes, alt="Axes.")
    with pytest.raises(ValueError, match=r"`alt` should say what the figure shows; found ' '\."):
        plots.to_html(figure, alt=" ")
    with pytest.raises(TypeError, match=r"`alt` should be a sentence; found int\."):
        plots.to_html(figure, alt=3)  # type: ignore[arg-type]


def test_the_style_can_be_set_for_a_session() -> None:
    with matplotlib.rc_context():
        plots.use(3.2)
        assert matplotlib.rcParams["figure.figsize"] == [3.2, 1.8]
        assert matplotlib.rcParams["axes.edgecolor"] == plots.COLORS["muted"]


def test_what_a_figure_and_an_alt_are_is_checked_alone() -> None:
    _still.check_figure("figure", Figure())
    _still.check_alt("A sentence.")
    with pytest.raises(TypeError, match=r"`drawing` should be a matplotlib figure; found str\."):
        _still.check_figure("drawing", "x")
    with pytest.raises(ValueError, match=r"`alt` should say what the figure shows; found ''\."):
        _still.check_alt("")


def test_a_front_has_its_seeds_within_its_band_and_its_point_on_top() -> None:
    _, axes = plots.subplots()
    x, y = np.array([[0.0, 1, 2], [0.2, 1.1, 2.4]]), np.array([[5.0, 2, 1], [4.0, 3, 0]])
    plots.front(axes, x.mean(axis=0), y.mean(axis=0), point=(1.05, 2.5), seeds=(x, y), color="red", label="two seeds")
    (band,), (line, point) = axes.patches, axes.lines
    for corner in np.concatenate([np.stack([x.min(0), y.min(0)], 1), np.stack([x.max(0), y.max(0)], 1)]):
        assert any(np.allclose(corner, vertex) for vertex in band.get_xy())
    assert (point.get_gid(), point.get_marker(), point.get_color()) == ("front-point", "o", plots.COLORS["green"])
    np.testing.assert_allclose(line.get_xydata(), np.stack([x.mean(0), y.mean(0)], 1))
    plots.front(axes, [0, 1], [1, 0])
    assert len(axes.patches) == 1  # no seeds, no band
    assert len(axes.lines) == 3  # no preference, no point


def test_two_classes_are_circles_and_triangles_filled_or_hollow() -> None:
    _, axes = plots.subplots()
    points, signs = np.array([[0.0, 1], [2, 3], [4, 5]]), np.array([-1, 1, -1])
    plots.two_classes(axes, points, signs, alpha=0.5)
    for line, marker, color, rows in zip(axes.lines, "o^", ("blue", "orange"), ([0, 2], [1]), strict=True):
        assert (line.get_marker(), line.get_color(), line.get_linestyle()) == (marker, plots.COLORS[color], "None")
        assert (line.get_markersize(), line.get_alpha()) == (6, 0.5)
        np.testing.assert_array_equal(line.get_xydata(), points[rows])
    plots.two_classes(axes, points, signs, size=np.array([1.0, 2.0, 3.0]), filled=[True, True, False])
    circles, triangles = axes.collections
    assert circles.get_sizes().tolist() == [1, 9]  # areas in square points
    assert triangles.get_sizes().tolist() == [4]
    paper, blue = (matplotlib.colors.to_rgba(plots.COLORS[name]) for name in ("paper", "blue"))
    assert [tuple(face) for face in circles.get_facecolors()] == [blue, paper]
    assert tuple(circles.get_edgecolors()[0]) == blue
    np.testing.assert_array_equal(circles.get_offsets(), points[[0, 2]])
    plots.two_classes(axes, points, signs, size=[1, 2, 3])
    assert {tuple(face) for face in axes.collections[2].get_facecolors()} == {blue}


def test_a_boundary_is_the_line_of_one_score() -> None:
    _, axes = plots.subplots()
    weights, intercept = np.array([3.0, 4.0]), 2.0
    for level in (-1.0, 0.0):
        plots.boundary(axes, weights, intercept, level=level, reach=7, linestyle="--")
        ends = axes.lines[-1].get_xydata()
        np.testing.assert_allclose(ends @ weights + intercept, [level] * 2, atol=1e-12)
        assert np.hypot(*(ends[1] - ends[0])) == pytest.approx(14)
    assert (axes.lines[0].get_color(), axes.lines[0].get_linestyle()) == (plots.COLORS["ink"], "--")
    plots.boundary(axes, weights, color=plots.COLORS["red"])
    assert axes.lines[2].get_color() == plots.COLORS["red"]


def test_arrows_are_one_line_whose_heads_lie_back_from_their_tips() -> None:
    _, axes = plots.subplots()
    plots.arrows(axes, [[0, 0], [5, 5], [1, 1]], [[10, 0], [0, 0], [0, 0.5]], head=1)
    (line,) = axes.lines
    long, short = line.get_xydata().reshape(2, 6, 2)  # the one without length is left out
    np.testing.assert_allclose(long[:5], [[0, 0], [10, 0], [9, 0.6], [10, 0], [9, -0.6]])
    np.testing.assert_allclose(short[:5], [[1, 1], [1, 1.5], [0.88, 1.3], [1, 1.5], [1.12, 1.3]])  # a head of 0.4 times 0.5
    assert np.isnan([long[5], short[5]]).all()
    plots.arrows(axes, np.zeros((0, 2)), np.zeros((0, 2)))
    assert len(axes.lines[1].get_xydata()) == 0


def test_a_handle_is_a_dot_or_a_ring_with_a_name() -> None:
    _, axes = plots.subplots()
    plots.handle(axes, 1, 2, "mine", color="green")
    plots.handle(axes, np.array([3.0])[0], 4, "yours", hollow=True, marker="s", markersize=24)
    dot, ring = axes.lines
    assert (dot.get_gid(), dot.get_marker(), dot.get_color(), dot.get_markersize()) == ("mine", "o", plots.COLORS["green"], 12)
    assert dot.get_xydata().tolist() == [[1, 2]]
    assert (ring.get_gid(), ring.get_marker(), ring.get_markerfacecolor(), ring.get_markersize()) == ("yours", "s", "none", 24)
    assert ring.get_markeredgecolor() == plots.COLORS["ink"]
