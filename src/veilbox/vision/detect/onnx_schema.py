"""The messages of an ONNX file, as a table for the wire reader; what a model must not have is in it to be named.

Source: onnx.proto of ONNX IR version 13 (onnx 1.23); `tests/vision/test_model_structure.py` holds the two together.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from veilbox.vision.detect.wire import Known, Scalar, Schema

_INT, _TEXT, _FLOAT, _DOUBLE = Scalar.INT, Scalar.TEXT, Scalar.FLOAT, Scalar.DOUBLE


def _many(name: str, kind: Scalar | str) -> Known:
    return Known(name, kind, many=True)


SCHEMA: Final[Schema] = MappingProxyType(
    {
        "ModelProto": {
            1: Known("ir_version", _INT),
            2: Known("producer_name", _TEXT),
            3: Known("producer_version", _TEXT),
            4: Known("domain", _TEXT),
            5: Known("model_version", _INT),
            6: Known("doc_string", _TEXT),
            7: Known("graph", "GraphProto"),
            8: _many("opset_import", "OperatorSetIdProto"),
            14: _many("metadata_props", "StringStringEntryProto"),
            20: _many("training_info", _TEXT),
            25: _many("functions", _TEXT),
        },
        "OperatorSetIdProto": {1: Known("domain", _TEXT), 2: Known("version", _INT)},
        "StringStringEntryProto": {1: Known("key", _TEXT), 2: Known("value", _TEXT)},
        "GraphProto": {
            1: _many("node", "NodeProto"),
            2: Known("name", _TEXT),
            5: _many("initializer", "TensorProto"),
            10: Known("doc_string", _TEXT),
            11: _many("input", "ValueInfoProto"),
            12: _many("output", "ValueInfoProto"),
            13: _many("value_info", "ValueInfoProto"),
            14: _many("quantization_annotation", "TensorAnnotation"),
            15: _many("sparse_initializer", "SparseTensorProto"),
            16: _many("metadata_props", "StringStringEntryProto"),
        },
        "TensorAnnotation": {
            1: Known("tensor_name", _TEXT),
            2: _many("quant_parameter_tensor_names", "StringStringEntryProto"),
        },
        "NodeProto": {
            1: _many("input", _TEXT),
            2: _many("output", _TEXT),
            3: Known("name", _TEXT),
            4: Known("op_type", _TEXT),
            5: _many("attribute", "AttributeProto"),
            6: Known("doc_string", _TEXT),
            7: Known("domain", _TEXT),
            8: Known("overload", _TEXT),
            9: _many("metadata_props", "StringStringEntryProto"),
        },
        "AttributeProto": {
            1: Known("name", _TEXT),
            2: Known("f", _FLOAT),
            3: Known("i", _INT),
            4: Known("s", _TEXT),
            5: Known("t", "TensorProto"),
            6: Known("g", "GraphProto"),
            7: _many("floats", _FLOAT),
            8: _many("ints", _INT),
            9: _many("strings", _TEXT),
            10: _many("tensors", "TensorProto"),
            11: _many("graphs", "GraphProto"),
            13: Known("doc_string", _TEXT),
            14: Known("tp", "TypeProto"),
            15: _many("type_protos", "TypeProto"),
            20: Known("type", _INT),
            21: Known("ref_attr_name", _TEXT),
            22: Known("sparse_tensor", "SparseTensorProto"),
            23: _many("sparse_tensors", "SparseTensorProto"),
        },
        "TensorProto": {
            1: _many("dims", _INT),
            2: Known("data_type", _INT),
            3: Known("segment", _TEXT),
            4: _many("float_data", _FLOAT),
            5: _many("int32_data", _INT),
            6: _many("string_data", _TEXT),
            7: _many("int64_data", _INT),
            8: Known("name", _TEXT),
            9: Known("raw_data", _TEXT),
            10: _many("double_data", _DOUBLE),
            11: _many("uint64_data", _INT),
            12: Known("doc_string", _TEXT),
            13: _many("external_data", "StringStringEntryProto"),
            14: Known("data_location", _INT),
            16: _many("metadata_props", "StringStringEntryProto"),
        },
        "SparseTensorProto": {
            1: Known("values", "TensorProto"),
            2: Known("indices", "TensorProto"),
            3: _many("dims", _INT),
        },
        "ValueInfoProto": {
            1: Known("name", _TEXT),
            2: Known("type", "TypeProto"),
            3: Known("doc_string", _TEXT),
            4: _many("metadata_props", "StringStringEntryProto"),
        },
        # Sequences, maps and optional values are no matter of detectors: unknown here, so refused.
        "TypeProto": {1: Known("tensor_type", "Tensor"), 6: Known("denotation", _TEXT)},
        "Tensor": {1: Known("elem_type", _INT), 2: Known("shape", "TensorShapeProto")},
        "TensorShapeProto": {1: _many("dim", "Dimension")},
        "Dimension": {1: Known("dim_value", _INT), 2: Known("dim_param", _TEXT), 3: Known("denotation", _TEXT)},
    }
)
