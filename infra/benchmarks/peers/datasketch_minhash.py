"""The peer of near_duplicates for captions: datasketch's MinHash (bulk generator) and MinHashLSH, over the same shingles.

Answers: sign (signatures of all captions) and link (insert into the index and query it), with their CPU seconds; answer
gives the pairs that met.
"""

import json
import sys
import time

from datasketch import MinHash, MinHashLSH


def shingles(text, size):
    text = f" {text} "
    return {text[start : start + size].encode() for start in range(max(1, len(text) - size + 1))}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    bands, rows = job["bands"], job["rows"]
    signed, met = [], set()
    for line in sys.stdin:
        word, start, answer = line.strip(), time.process_time(), {}
        if word == "sign":
            sets = [shingles(text, job["size"]) for text in job["texts"]]
            signed = list(MinHash.generator(sets, num_perm=bands * rows))
        elif word == "link":
            index = MinHashLSH(num_perm=bands * rows, params=(bands, rows))
            met = set()
            for number, signature in enumerate(signed):
                met.update((other, number) for other in index.query(signature))
                index.insert(number, signature)
        elif word == "answer":
            answer["pairs"] = sorted(met)
        answer["seconds"] = time.process_time() - start
        print(json.dumps(answer), flush=True)


main()
