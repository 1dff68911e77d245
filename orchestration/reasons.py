"""What each drop reason means, in one line for the reader of a report."""

MEANING: dict[str, str] = {
    # what a site's owner said
    "robots_txt": "the site's robots.txt does not allow it",
    "header_opt_out": "an X-Robots-Tag header opts out of use for AI",
    "site_opt_out": "the site's tdmrep.json or ai.txt reserves it",
    "meta_opt_out": "the page's robots meta tag opts out of use for AI",
    # crawl
    "not_html": "the answer is no HTML page",
    # select
    "duplicate_pair": "the same picture URL with the same text, seen before",
    "text_empty": "no text stands with the picture",
    "text_boilerplate": "a file name or a stock phrase, not a description",
    "text_too_short": "too few words to describe anything",
    "text_language": "not in a language of the recipe",
    "no_query": "no entry of the query list occurs in the text",
    "balanced_out": "its queries already have their share of pairs",
    # fetch
    "not_found": "the server says 404 or 410",
    "http_error": "another error status, after all retries",
    "redirect_loop": "redirects lead back to where they began",
    "too_many_redirects": "more redirects than the recipe follows",
    "too_slow": "bytes arrive below the minimum rate",
    "timeout": "no complete answer in time",
    "connection_failed": "the connection was refused or broke",
    "host_unreachable": "its host did not answer, time after time, and was given up",
    "file_missing": "its file is not where the source said",
    "name_not_resolved": "the host name has no address",
    "address_refused": "a private address, a bad scheme or a closed port",
    "too_large": "more bytes than the recipe takes",
    "not_an_image": "the bytes are no picture, whatever the header says",
    "decode_failed": "truncated or corrupt picture",
    "pixel_limit": "more pixels than the recipe decodes",
    "decoder_crashed": "the decoder died on it, in its own process",
    "decoder_hung": "the decoder did not finish, and was ended",
    "image_too_small": "the shorter side is below the minimum",
    "aspect_too_extreme": "much longer than wide, or wider than long",
    # score
    "below_score": "a scorer's number is below the recipe's minimum",
    "above_score": "a scorer's number is above the recipe's maximum",
    "outside_top_fraction": "not among the best share that the recipe keeps",
    "no_score": "a scorer could give it no number",
    # deduplicate, decontaminate
    "duplicate_bytes": "the very same bytes as a kept picture",
    "near_duplicate": "looks like a kept picture: resized, recompressed or cropped",
    "near_caption": "says nearly the same as a kept caption",
    "near_embedding": "means nearly the same as a kept picture, by its embedding",
    "duplicate_of_dataset": "the other dataset holds this picture already",
    "near_evaluation": "looks like a picture of an evaluation set",
    "featureless": "an evaluation picture of one plain colour: every plain picture would look like it",
}

ACTIVITY: dict[str, str] = {
    "web": "makes the demo web",
    "references": "fingerprints evaluation pictures",
    "crawl": "reads pages, finds pairs",
    "select": "filters texts, matches, balances",
    "fetch": "downloads and checks pictures",
    "score": "judges pictures and texts",
    "deduplicate": "drops what was seen before",
    "decontaminate": "drops what tests contain",
    "pack": "writes WebDataset shards",
    "train": "trains the model",
    "evaluate": "measures the checkpoint",
    "report": "writes this page",
}
