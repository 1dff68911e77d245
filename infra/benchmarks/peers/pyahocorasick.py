"""The peer of query_matching: one Aho-Corasick automaton over " query ", as MetaCLIP's documentation describes the match.

Runs in an environment with pyahocorasick alone. Answers: load, build and match with their seconds, answer with the matches.
"""

import json
import re
import sys
import time

import ahocorasick

PUNCTUATION = re.compile(r"([,.;:?!`])")
BLANKS = str.maketrans("\t\r\n", "   ")


def spaced(text):
    return " " + PUNCTUATION.sub(r" \1 ", text.lower().translate(BLANKS)) + " "


def build(queries):
    automaton = ahocorasick.Automaton()
    for number, query in enumerate(queries):
        word = f" {query.lower()} "
        if word not in automaton:
            automaton.add_word(word, number)
    automaton.make_automaton()
    return automaton


def match(automaton, texts):
    return [sorted({number for _, number in automaton.iter(spaced(text))}) for text in texts]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    automaton, found = None, None
    for line in sys.stdin:
        word, start, answer = line.strip(), time.perf_counter(), {}
        if word == "build":
            automaton = build(job["queries"])
        elif word == "match":
            found = match(automaton, job["texts"])
        elif word == "answer":
            answer["found"] = found
        answer["seconds"] = time.perf_counter() - start
        print(json.dumps(answer), flush=True)


main()
