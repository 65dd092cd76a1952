"""A model behind HTTP: an OpenAI-compatible endpoint and a web page, over one thread that owns the model.

``app`` is the endpoint: ``guard`` decides who may come in and with how much, ``schema`` and ``dialogs`` read a request,
``files`` and ``remote`` its pages, ``wire`` writes the answers. Behind it, ``engine`` batches what waits in ``fair``,
with the encoded pages of ``cache``. ``page`` is the web page, and ``run`` starts and stops it all.
"""
