"""Natural distribution shifts: what accuracy on other pictures is worth, given the accuracy on ImageNet."""
