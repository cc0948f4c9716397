"""The README's program runs as it is printed."""

import re
from pathlib import Path

README = Path(__file__).parents[3] / "emulator/README.md"
TEMPLATE = """
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.handler
      Events:
        E: {Type: MSK, Properties: {Stream: a, Topics: [t], StartingPosition: TRIM_HORIZON}}
"""


def test_the_python_example_runs(tmp_path, monkeypatch):
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    (tmp_path / "app.py").write_text("def handler(event, context):\n    pass\n")
    monkeypatch.chdir(tmp_path)

    exec(compile(program, "README.md", "exec"), {})
