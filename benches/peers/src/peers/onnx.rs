//! An ONNX model of one convolution: the few fields of `onnx.proto` that it takes, in protobuf's wire format.

use crate::problem::Problem;

/// A message while it is written; fields go by their numbers in `onnx.proto`.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn int(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn ints(self, field: u64, values: &[usize]) -> Self {
        values.iter().fold(self, |message, &value| message.int(field, value as u64))
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(self, field: u64, message: Self) -> Self {
        self.bytes(field, &message.0)
    }
}

/// `TensorProto.DataType`.
const FLOAT: u64 = 1;
/// `AttributeProto.AttributeType`.
const INT: u64 = 2;
const INTS: u64 = 7;

/// `y = Conv(x, w)` with extents that are known.
pub(crate) fn model(problem: &Problem) -> Vec<u8> {
    let params = problem.params();
    let [pad_h, pad_w] = problem.padding();
    let attributes = [
        ("kernel_shape", &params.kernel[..]),
        ("strides", &params.stride),
        ("dilations", &params.dilation),
        ("pads", &[pad_h, pad_w, pad_h, pad_w]),
    ];
    let mut node = Message::default().text(1, "x").text(1, "w").text(2, "y").text(3, "conv").text(4, "Conv");
    for (name, values) in attributes {
        node = node.message(5, Message::default().text(1, name).ints(8, values).int(20, INTS));
    }
    node = node.message(5, Message::default().text(1, "group").int(3, params.groups as u64).int(20, INT));
    let raw: Vec<u8> = problem.weight.iter().flat_map(|value| value.to_le_bytes()).collect();
    let weight =
        Message::default().ints(1, &problem.weight_shape()).int(2, FLOAT).text(8, "w").bytes(9, &raw);
    let graph = Message::default()
        .message(1, node)
        .text(2, "layer")
        .message(5, weight)
        .message(11, value("x", &problem.input_shape()))
        .message(12, value("y", &problem.output_shape()));
    let opset = Message::default().text(1, "").int(2, 13);
    Message::default().int(1, 8).message(7, graph).message(8, opset).0
}

fn value(name: &str, shape: &[usize]) -> Message {
    let dims = shape
        .iter()
        .fold(Message::default(), |dims, &extent| dims.message(1, Message::default().int(1, extent as u64)));
    let tensor = Message::default().int(1, FLOAT).message(2, dims);
    Message::default().text(1, name).message(2, Message::default().message(1, tensor))
}
