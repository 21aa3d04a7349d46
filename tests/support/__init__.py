"""What several tests share: tiny encoders, batches, comparisons, and processes of several ranks."""
