package python_test

import (
	"os/exec"
	"testing"
)

// encoderTest answers like functions do whose heads are alike, one after the other.
const encoderTest = `
import sys
sys.path.insert(0, "adapter")
from flint_adapter.call import encode

def head(status, headers):
    return encode({"statusCode": status, "headers": headers, "body": "x"})[0].decode()

def equal(got, want):
    if got != want:
        sys.exit("got %s, want %s" % (got, want))

class Shouting(str):
    def __str__(self):
        return self.upper()

for _ in range(2):
    equal(head(200, {"a": "1"}), '{"status":200,"headers":{"a":"1"}}')
    equal(head(200, {"a": 1}), '{"status":200,"headers":{"a":"1"}}')
    equal(head(201, {"a": "1"}), '{"status":201,"headers":{"a":"1"}}')
    equal(head(201, {"a": "2"}), '{"status":201,"headers":{"a":"2"}}')
    equal(head(201, {"A": "2"}), '{"status":201,"headers":{"A":"2"}}')
    equal(head(200, {"a": True}), '{"status":200,"headers":{"a":"True"}}')
    equal(head(200, {"a": 1}), '{"status":200,"headers":{"a":"1"}}')
    equal(head(200, {"a": 1.0}), '{"status":200,"headers":{"a":"1.0"}}')
    equal(head(200, {1: "x"}), '{"status":200,"headers":{"1":"x"}}')
    equal(head(200, {True: "x"}), '{"status":200,"headers":{"True":"x"}}')
    equal(head(200, {"a": ["1", "2"]}), '{"status":200,"headers":{"a":["1","2"]}}')
    equal(head(200, {"a": Shouting("loud")}), '{"status":200,"headers":{"a":"LOUD"}}')
    equal(head(200, {"a": "loud"}), '{"status":200,"headers":{"a":"loud"}}')
    equal(head(200, {"a": Shouting("loud")}), '{"status":200,"headers":{"a":"LOUD"}}')
    equal(head(200, None), '{"status":200,"headers":{}}')

headers = {"a": "1"}
head(200, headers)
headers["a"] = "2"  # a function may keep one dictionary and change it
equal(head(200, headers), '{"status":200,"headers":{"a":"2"}}')
for status, headers in ((99, {}), ("200", {}), (200, {"a b": "c"}), (200, {"a": "b\n"}), (200, {"a": ["b\r"]})):
    try:
        head(status, headers)
    except ValueError:
        continue
    sys.exit("%r, %r is accepted" % (status, headers))
`

func TestEncoderKeepsOnlyWhatIsTheSame(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	if out, err := exec.CommandContext(t.Context(), python, "-B", "-c", encoderTest).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
