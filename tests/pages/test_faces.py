"""Faces of type: found whole families at a time, those of the test never among those of training, chosen fairly."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from llava.pages import faces
from llava.pages.faces import (
    COMMON,
    HELD_OUT,
    SHIPPED,
    FontBook,
    FontFace,
    advance,
    held_out_faces,
    installed_faces,
    load_font,
    shows,
    training_faces,
)
from tests.print_helpers import FOLDERS, kept_for_the_test, trained

SANS = next(face for face in installed_faces(FOLDERS) if face.family == "DejaVu Sans" and face.style == "Book")


def face(family: str, style: str = "Regular") -> FontFace:
    return FontFace(family=family, style=style, path=Path(f"{family} {style}.ttf"))


class TestHeldOut:
    def test_training_and_the_test_share_no_family_and_leave_none_out(self):
        assert not {*trained().families} & {*kept_for_the_test().families}
        assert sorted([*trained().faces, *kept_for_the_test().faces]) == list(installed_faces(FOLDERS))

    def test_the_bundled_families_are_enough_for_both(self):
        held = {"Comic Neue", "Courier Prime", "Dosis", "Play", "Quattrocento", "Tuffy"}
        assert {*kept_for_the_test().families} == held
        assert {"Liberation Sans", "Roboto", "Open Sans", "DejaVu Serif"} <= {*trained().families}

    @pytest.mark.parametrize("name", HELD_OUT)
    @pytest.mark.parametrize("more", ["", " Display", "Mono"])
    def test_a_family_goes_with_its_relatives_in_every_style(self, name, more):
        assert face(name + more).held_out
        assert face(name + more, "Bold Italic").held_out

    def test_no_common_family_is_held_out_and_no_training_face_is(self):
        assert not [name for name in COMMON if face(name).held_out]
        assert not [each for each in trained().faces if each.family.startswith(HELD_OUT)]

    def test_what_a_file_is_called_does_not_matter(self, tmp_path):
        shutil.copy(SHIPPED / "Quattrocento-Regular.otf", tmp_path / "DejaVuSans.otf")
        assert not [each for each in training_faces((tmp_path,)).faces if each.path.parent == tmp_path]
        (found,) = held_out_faces((tmp_path,)).faces
        assert found.family == "Quattrocento"


class TestFinding:
    def test_families_are_found_whole_wherever_their_files_are(self, tmp_path):
        (source,) = faces._matplotlib_fonts()
        copied = sorted(source.glob("DejaVuS*.ttf"))
        copied = [path for path in copied if "Display" not in path.stem]
        for number, path in enumerate(copied):
            folder = tmp_path / f"{number % 3}" / "deeper"
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / f"{number}.ttf")
        own = [each for each in installed_faces((tmp_path,)) if tmp_path in each.path.parents]
        assert Counter(each.family for each in own) == {"DejaVu Sans": 4, "DejaVu Sans Mono": 4, "DejaVu Serif": 4}
        assert len({(each.family, each.style) for each in own}) == len(copied) == 12

    def test_each_face_is_taken_once_from_the_first_folder_that_has_it(self, tmp_path):
        shutil.copy(SHIPPED / "Roboto-Regular.ttf", tmp_path / "again.ttf")
        for folders, home in (((tmp_path, SHIPPED), tmp_path), ((SHIPPED, tmp_path), SHIPPED)):
            (found,) = [each for each in installed_faces(folders) if each.family == "Roboto"]
            assert found.path.parent == home

    def test_broken_files_are_left_out(self, tmp_path):
        (tmp_path / "empty.ttf").touch()
        (tmp_path / "text.otf").write_text("no font at all")
        cut = (SHIPPED / "Roboto-Regular.ttf").read_bytes()[:4000]
        (tmp_path / "cut.ttf").write_bytes(cut)
        assert installed_faces((tmp_path,)) == installed_faces(())

    def test_pictures_and_formulas_of_matplotlib_are_no_print(self):
        found = {each.family for each in installed_faces(())}
        assert found >= {"DejaVu Sans", "DejaVu Sans Mono", "DejaVu Serif"}
        assert not [name for name in found if name.startswith(("cm", "STIXSize", "STIXNonUnicode"))]

    @pytest.mark.parametrize(
        ("family", "style", "fit"),
        [
            ("Roboto", "Regular", True),
            ("Roboto", "Thin", False),
            ("Roboto Hairline", "Regular", False),
            ("Noto Sans Arabic", "Regular", False),
            ("Noto Sans Mono", "Regular", True),
            ("Noto Emoji", "Regular", False),
            ("Standard Symbols PS", "Regular", False),
            ("Latin Modern Math", "Regular", False),
            ("cmr10", "Regular", False),
            ("CMU Serif", "Roman", True),
            ("Sans", "Regular", False),
            ("Open Sans", "Regular", True),
        ],
    )
    def test_what_is_no_type_for_documents_is_left_out_by_name(self, monkeypatch, family, style, fit):
        class Renamed:
            def getname(self) -> tuple[str, str]:
                return family, style

            def getmask(self, text: str):
                return load_font(SANS.path, 20).getmask(text)

        monkeypatch.setattr(faces, "load_font", lambda path, size: Renamed())
        found = faces._read_face(SANS.path)
        assert (found is not None) == fit
        assert found is None or (found.family, found.style) == (family, style)

    @pytest.mark.parametrize("missing", "Z9$%;)")
    def test_a_face_that_lacks_a_needed_character_is_left_out(self, monkeypatch, missing):
        class Lacking:
            def getname(self) -> tuple[str, str]:
                return "Roboto", "Regular"

            def getmask(self, text: str):
                return load_font(SANS.path, 20).getmask("\uffff" if text == missing else text)

        monkeypatch.setattr(faces, "load_font", lambda path, size: Lacking())
        assert faces._read_face(SANS.path) is None

    def test_a_machine_without_fonts_is_told_so(self, monkeypatch, tmp_path):
        with pytest.raises(ValueError, match="no usable font was found; install some, or name their folders"):
            held_out_faces((tmp_path,))  # matplotlib has no family of the test
        monkeypatch.setattr(faces, "_matplotlib_fonts", list)
        empty = tmp_path / "empty"
        empty.mkdir()
        with pytest.raises(ValueError, match="no usable font was found"):
            training_faces((empty,))
        with pytest.raises(ValueError, match="no usable font was found"):
            FontBook([])


class TestChoosing:
    def test_a_family_with_many_faces_weighs_no_more_than_one_with_one(self):
        book = FontBook([face("Rich", f"Style {number}") for number in range(19)] + [face("Poor"), face("Third")])
        rng = np.random.default_rng(5)
        counts = Counter(book.draw(rng).family for _ in range(3000))
        assert book.families == ("Poor", "Rich", "Third")
        assert all(900 < count < 1100 for count in counts.values())

    @pytest.mark.parametrize(("variety", "share"), [(1.0, 0.35), (0.5, 0.675), (0.0, 1.0)])
    def test_common_families_get_their_share_and_all_of_it_without_variety(self, variety, share):
        others = [face(f"Rare {number}") for number in range(97)]
        book = FontBook([face("Arimo"), face("Arimo", "Bold"), face("Arimo", "Italic"), *others])
        rng = np.random.default_rng(7)
        drawn = [book.draw(rng, variety=variety) for _ in range(3000)]
        common = [each for each in drawn if each.family == "Arimo"]
        assert len(common) / len(drawn) == pytest.approx(share, abs=0.03)
        if variety == 0:
            assert {each.style for each in common} == {"Regular", "Bold"}

    def test_without_common_families_any_is_drawn(self):
        book = FontBook([face("Rare"), face("Rarer")])
        rng = np.random.default_rng(3)
        assert {book.draw(rng, variety=0.0).family for _ in range(40)} == {"Rare", "Rarer"}

    def test_the_order_of_the_faces_does_not_matter(self):
        backward = FontBook(reversed(trained().faces))
        draws = [[book.draw(np.random.default_rng(seed)) for seed in range(23)] for book in (trained(), backward)]
        assert draws[0] == draws[1]


class TestShapes:
    def test_a_face_shows_what_it_has_a_shape_for(self):
        cabin = SHIPPED / "Cabin-Regular.otf"
        assert shows(cabin, "ü")
        assert not shows(cabin, "ř")
        assert shows(SANS.path, "ř")
        assert not shows(SANS.path, " ")

    def test_the_pen_moves_as_far_as_the_font_says(self):
        mono = SHIPPED / "LiberationMono-Regular.ttf"
        assert {advance(mono, 20, character) for character in "iW.@"} == {advance(mono, 20, "x")}
        assert advance(SANS.path, 20, "W") > 2 * advance(SANS.path, 20, "i")
        assert advance(SANS.path, 40, "W") == pytest.approx(2 * advance(SANS.path, 20, "W"), rel=0.05)
