"""LaViDa's prompts as a chat template, for messages whose content is a text or a list of texts and images."""

from llava.constants import DEFAULT_IMAGE_TOKEN
from llava.conversation import BEGIN_OF_TEXT, END_HEADER, START_HEADER, SYSTEM

_TURN = (
    f"{START_HEADER}{{{{ message['role'] }}}}{END_HEADER}{{{{ '\\n\\n' }}}}"
    "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    f"{{{{ '{DEFAULT_IMAGE_TOKEN}\\n' }}}}"
    "{% endif %}{% endfor %}"
    "{% set words = namespace(text='') %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}"
    "{% set words.text = words.text + part['text'] %}{% endif %}{% endfor %}{{ words.text | trim }}{% endif %}"
    "{{ '<|eot_id|>' }}"
)

CHAT_TEMPLATE = (
    f"{BEGIN_OF_TEXT}"
    "{% if messages[0]['role'] != 'system' %}"
    f"{START_HEADER}system{END_HEADER}{{{{ '\\n\\n' }}}}{SYSTEM}{{{{ '<|eot_id|>' }}}}"
    "{% endif %}{% for message in messages %}" + _TURN + "{% endfor %}"
    f"{{% if add_generation_prompt %}}{START_HEADER}assistant{END_HEADER}{{{{ '\\n\\n' }}}}{{% endif %}}"
)
"""The text of ``llava.conversation``'s template: its system turn unless the messages have one, and in a turn the images
first, a line each. What follows an image is never an end of turn, since LaViDa leaves out the token behind an image."""
