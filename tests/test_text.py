"""What is told of a text without a model: its language, its words, what stands round it."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spavl.miniature.grammar import FRAMES, VERBS
from spavl.near import features
from spavl.text.alike import count_words, repeats, share_taken_from, similarity, words_of
from spavl.text.language import declines_in, is_in, languages
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


@pytest.mark.parametrize("text", ["OK", "", "42 ?", "Zorb Müller, 3D.", "Explain image details."])
def test_where_nothing_speaks_against_a_language_it_is_not_refused(text: str) -> None:
    assert is_in(languages()["en"], text)


def test_a_name_in_another_script_makes_no_other_language() -> None:
    assert is_in(languages()["en"], "What does the sign 北京 in this street say?")
    assert is_in(languages()["ja"], "このLLaVAというモデルは何ですか?")
    assert not is_in(languages()["en"], "Xqz vlop trun mek bal dorf zin plaq wert mub.")


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
