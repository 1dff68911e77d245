"""Training state on disk: parts by parameter name, sealed folders, writing beside the training, notices to leave."""
