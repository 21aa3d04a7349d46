"""A plugin for vision-composer: an encoder family, a feature selector and an attention backend."""
