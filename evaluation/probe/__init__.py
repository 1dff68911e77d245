"""Classifiers on frozen features: exact logistic regression and its search, few-shot, nearest neighbours."""
