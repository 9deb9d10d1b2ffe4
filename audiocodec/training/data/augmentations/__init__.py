"""What is done to training segments beside gain and polarity: one file per augmentation.

A new augmentation is a subclass of ``Augmentation`` in a file of its own, and one line in
``AugmentConfig``.
"""
