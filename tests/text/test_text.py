"""What is told of a text without a model: its language, its words, what stands round it."""

import random
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spavl.errors import ConfigError
from spavl.miniature.grammar import FRAMES, VERBS
from spavl.text.language import declines_in, is_in, language_named, languages
from spavl.text.near_duplicates import features
from spavl.text.similarity import count_words, repeats, share_taken_from, similarity, within_words, words_of
from spavl.text.tidy import holds_template_marks, looks_like_data, tidy

SENTENCES = {
    "en": "What should I say if my neighbour asks about this?",
    "de": "Was soll ich sagen, wenn mein Nachbar danach fragt?",
    "fr": "Que dois-je dire si mon voisin me pose la question ?",
    "es": "¿Qué debo decir si mi vecino me pregunta por esto?",
    "pt": "O que devo dizer se o meu vizinho perguntar sobre isso?",
    "it": "Che cosa devo dire se il mio vicino me lo chiede?",
    "nl": "Wat moet ik zeggen als mijn buurman hiernaar vraagt?",
    "sv": "Vad ska jag säga om min granne frågar om det här?",
    "pl": "Co mam powiedzieć, jeśli mój sąsiad o to zapyta?",
    "cs": "Co mám říct, když se na to zeptá můj soused?",
    "tr": "Komşum bunu sorarsa ona ne söylemeliyim ve neden?",
    "vi": "Tôi nên nói gì nếu hàng xóm hỏi về điều này?",
    "id": "Apa yang harus saya katakan jika tetangga saya bertanya tentang ini?",
    "ru": "Что мне сказать, если мой сосед спросит об этом?",
    "uk": "Що мені сказати, якщо мій сусід запитає про це?",
    "el": "Τι πρέπει να πω αν με ρωτήσει ο γείτονάς μου;",
    "he": "מה עליי לומר אם השכן שלי ישאל על זה?",
    "ar": "ماذا يجب أن أقول إذا سألني جاري عن هذا؟",
    "fa": "اگر همسایه‌ام درباره این بپرسد چه باید بگویم؟",
    "hi": "अगर मेरा पड़ोसी इसके बारे में पूछे तो मुझे क्या कहना चाहिए?",
    "bn": "আমার প্রতিবেশী এ সম্পর্কে জিজ্ঞাসা করলে আমি কী বলব?",
    "ta": "என் அண்டை வீட்டார் இதைப் பற்றிக் கேட்டால் நான் என்ன சொல்ல வேண்டும்?",
    "th": "ถ้าเพื่อนบ้านถามเรื่องนี้ฉันควรตอบว่าอย่างไร",
    "ko": "이웃이 이것에 대해 물어보면 뭐라고 말해야 하나요?",
    "ja": "隣の人にこれについて聞かれたら、何と言えばいいですか?",
    "zh": "如果邻居问起这件事,我应该怎么说?",
}


def test_every_language_has_a_sentence_here() -> None:
    assert SENTENCES.keys() == languages().keys()


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence_is_in_its_own_language_and_no_other(code: str) -> None:
    taken_for = [other for other, language in languages().items() if is_in(language, SENTENCES[code])]
    assert taken_for == [code]


# The first words of the Universal Declaration of Human Rights, also in languages that nobody can ask for here.
DECLARED = {
    "en": "All human beings are born free and equal in dignity and rights.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos.",
    "it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti.",
    "nl": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren.",
    "sv": "Alla människor är födda fria och lika i värde och rättigheter.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.",
    "cs": "Všichni lidé se rodí svobodní a sobě rovní co do důstojnosti a práv.",
    "tr": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar.",
    "vi": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.",
    "id": "Semua orang dilahirkan merdeka dan mempunyai martabat dan hak-hak yang sama.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "uk": "Всі люди народжуються вільними і рівними у своїй гідності та правах.",
    "da": "Alle mennesker er født frie og lige i værdighed og rettigheder.",
    "no": "Alle mennesker er født frie og med samme menneskeverd og menneskerettigheter.",
    "fi": "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan.",
    "hu": "Minden emberi lény szabadon születik és egyenlő méltósága és joga van.",
    "ro": "Toate ființele umane se nasc libere și egale în demnitate și în drepturi.",
    "ca": "Tots els éssers humans neixen lliures i iguals en dignitat i en drets.",
}


@pytest.mark.parametrize("code", DECLARED)
def test_what_the_united_nations_translated_is_in_its_own_language_and_no_other(code: str) -> None:
    taken_for = [other for other, language in languages().items() if is_in(language, DECLARED[code])]
    assert taken_for == [code] * (code in languages())


# Captions as people write them, with none of the little words that a list would look for.
CAPTIONS = {
    "tr": ["Kırmızı kanatlı küçük kelebek.", "Beyaz önlüklü doktor köpeğe iğne yapıyor."],
    "pt": ["Três maçãs vermelhas maduras.", "Homem velho sentado lendo jornal."],
    "vi": ["Con mèo đen đang ngủ.", "Hai quả táo đỏ chín."],
    "it": ["Farfalla gialla posata sopra foglie verdi.", "Vecchio treno a vapore nero."],
    "cs": ["Starý černý parní vlak.", "Žlutý motýl sedí nad květinou."],
    "zh": ["请输入有效的 IPv4 或 IPv6 地址。"],
    "ko": ["boolean (True 또는 False) 값입니다."],
}


@pytest.mark.parametrize(("code", "text"), [(code, text) for code, texts in CAPTIONS.items() for text in texts])
def test_a_short_text_without_little_words_is_not_refused(code: str, text: str) -> None:
    assert is_in(languages()[code], text)


STAMPS = Path("/usr/share/tuxpaint/stamps")


@pytest.mark.interop
@pytest.mark.skipif(not STAMPS.is_dir(), reason="needs 9,000 captions: apt-get install tuxpaint-stamps-default")
def test_of_captions_in_25_languages_few_are_refused_and_few_of_others_pass() -> None:
    """Translated by some hundred people. Those in Tamil are in no encoding that anything reads."""
    captions = set[tuple[str, str]]()
    for file in STAMPS.rglob("*.txt"):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            code, mark, text = line.strip().partition(".utf8=")
            if mark and code in languages() and code != "ta" and count_words(text) >= 3:
                captions.add((code, text))
    refused = Counter(code for code, text in captions if not is_in(languages()[code], text))
    assert len(captions) > 5_000
    assert refused.total() < 0.006 * len(captions) and max(refused.values()) < 10
    drawn = random.Random(0).sample(sorted(captions), 1_000)
    passed = sum(is_in(language, text) for own, text in drawn for code, language in languages().items() if code != own)
    assert passed < 0.04 * len(drawn) * (len(languages()) - 1)


def test_a_language_that_is_not_in_the_table_is_asked_for_by_name_and_not_judged() -> None:
    swahili = language_named("Swahili", "questions.language")
    assert (swahili.code, swahili.name) == ("Swahili", "Swahili")
    assert is_in(swahili, "What is this?") and not declines_in(swahili, "I cannot.")
    assert language_named("german", "questions.language") is languages()["de"]
    with pytest.raises(ConfigError, match="or a name, such as Swahili"):
        language_named("sw", "questions.language")


def test_nothing_is_loaded_before_a_text_is_judged() -> None:
    command = "import sys, spavl.cli.main, spavl.data.questions.quality_checks; sys.exit('py3langid' in sys.modules)"
    subprocess.run([sys.executable, "-c", command], check=True)


@pytest.mark.parametrize("text", ["OK", "", "42 ?", "Zorb 3D.", "Explain image details."])
def test_where_nothing_speaks_against_a_language_it_is_not_refused(text: str) -> None:
    assert is_in(languages()["en"], text)


def test_a_name_in_another_script_makes_no_other_language() -> None:
    assert is_in(languages()["en"], "What does the sign 北京 in this street say?")
    assert is_in(languages()["ja"], "このLLaVAというモデルは何ですか?")
    assert not is_in(languages()["en"], "Xqz vlop trun mek bal dorf zin plaq wert mub.")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", "What does 立入禁止 この先危険につき通行できません mean?"),
        ("en", "Is the sign ПРОХОД ЗАПРЕЩЁН ОПАСНАЯ ЗОНА a warning?"),
        ("de", "Was heißt 此處危險請勿進入 auf diesem Schild?"),
        ("ru", "Что значит надпись No trespassing, violators will be prosecuted?"),
    ],
)
def test_a_sign_that_a_question_quotes_makes_no_other_language(code: str, text: str) -> None:
    assert is_in(languages()[code], text)


def test_all_that_the_miniature_says_is_taken_for_english() -> None:
    sentences = [frame.format(verb=verb) for frames in FRAMES.values() for frame in frames for verb in VERBS]
    assert all(is_in(languages()["en"], sentence) for sentence in sentences)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("de", "Es tut mir leid, aber dabei kann ich nicht helfen."),
        ("fr", "Désolé, je ne peux pas vous aider."),
        ("zh", "抱歉,我无法帮助你。"),
        ("ja", "申し訳ありませんが、お手伝いできません。"),
        ("ru", "К сожалению, я не могу помочь."),
        ("ar", "عذرًا، لا أستطيع المساعدة."),
    ],
)
def test_a_refusal_is_known_in_its_language(code: str, text: str) -> None:
    assert declines_in(languages()[code], text)
    assert not declines_in(languages()[code], SENTENCES[code])


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ('"What is this?"', "What is this?"),
        ("**Question:** What is this?", "What is this?"),
        ("Hard question: What is this?", "What is this?"),
        ("Here is one question:\n\nWhat is this?", "What is this?"),
        ("“What is this?”", "What is this?"),
        ('He asked "why", and she said "so".', 'He asked "why", and she said "so".'),
        ('{"question": "What is this?"}', '{"question": "What is this?"}'),
        ("What is the question: to be or not to be?", "What is the question: to be or not to be?"),
    ],
)
def test_what_stands_round_a_text_is_taken_off_and_nothing_else(said: str, meant: str) -> None:
    assert tidy(said) == meant


@pytest.mark.parametrize("code", ["hi", "bn", "ta", "fa", "ar", "he", "ru", "el", "vi", "tr", "ko"])
def test_vowel_signs_and_joiners_part_no_word(code: str) -> None:
    words = [word.strip("?؟;.,") for word in SENTENCES[code].casefold().split()]
    assert count_words(SENTENCES[code]) == len(words)
    assert words_of(SENTENCES[code]) == [unicodedata.normalize("NFKC", word) for word in words]
    if code != "ko":  # whose syllables stand for themselves in the search for leaks
        assert {word for word in features(SENTENCES[code]) if " " not in word} == set(words_of(SENTENCES[code]))


@given(st.text(max_size=200))
def test_any_text_can_be_tidied_once_and_for_all(text: str) -> None:
    once = tidy(text)
    assert len(once) <= len(text)
    assert count_words(once) <= count_words(text) or not text.isascii()
    holds_template_marks(once), looks_like_data(once)


@given(st.text(max_size=60), st.text(max_size=60))
def test_likeness_is_mutual_and_whole_for_oneself(one: str, two: str) -> None:
    assert similarity(one, one) == 1.0
    assert similarity(one, two) == similarity(two, one)
    assert 0.0 <= share_taken_from(one, two) <= 1.0


def test_the_same_question_in_other_clothes_is_a_repeat() -> None:
    earlier = ["How do I wake this, please?"]
    assert repeats("how do i WAKE this please", earlier, 0.8)
    assert not repeats("How do I feed that one over there?", earlier, 0.8)
    assert repeats("如果邻居问起这件事,我应该怎么说?", ["如果邻居问起这件事我应该怎么说"], 0.8)


def test_no_sign_inside_words_lies_outside_the_planes_that_are_looked_at() -> None:
    signs = {sign for sign in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(sign).startswith("M")}
    assert set(within_words()) == signs | {"\u200c", "\u200d"}
