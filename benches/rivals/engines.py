"""The rivals that are reached from Python. Each is a class that imports its library when it is made, before any clock
runs; `load` makes the session, `run` gives the first output as an array."""

import numpy as np


class OnnxRuntime:
    """Spins within and between runs as it does by default; it stops by itself when no run comes."""

    def __init__(self, threads):
        import onnxruntime

        self.library, self.threads = onnxruntime, threads

    def load(self, files, x):
        options = self.library.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        self.session = self.library.InferenceSession(files[0], options, providers=["CPUExecutionProvider"])
        self.feed = {self.session.get_inputs()[0].name: x}

    def run(self):
        return self.session.run(None, self.feed)[0]


class OpenVino:
    """Full precision asked for, since the default may be lower; tuned for latency; threads not pinned to cores."""

    def __init__(self, threads):
        import openvino

        self.core, self.threads = openvino.Core(), threads

    def load(self, files, x):
        config = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self.threads,
            "ENABLE_CPU_PINNING": False,
        }
        self.request = self.core.compile_model(self.core.read_model(files[0]), "CPU", config).create_infer_request()
        self.x = x

    def run(self):
        return self.request.infer([self.x], share_inputs=True, share_outputs=True)[0]


class Mnn:
    """High precision, and as much memory for the sake of speed as it wants."""

    def __init__(self, threads):
        import MNN

        self.library, self.threads = MNN, threads

    def load(self, files, x):
        mnn = self.library
        self.net = mnn.Interpreter(files[0])
        config = {"backend": "CPU", "numThread": self.threads, "precision": "high", "memory": "high", "power": "high"}
        self.session = self.net.createSession(config)
        self.target = self.net.getSessionInput(self.session)
        self.x = mnn.Tensor(x.shape, mnn.Halide_Type_Float, x, mnn.Tensor_DimensionType_Caffe)
        source = self.net.getSessionOutput(self.session)
        self.source = source
        zeros = np.zeros(source.getShape(), np.float32)
        self.y = mnn.Tensor(source.getShape(), mnn.Halide_Type_Float, zeros, mnn.Tensor_DimensionType_Caffe)

    def run(self):
        self.target.copyFrom(self.x)
        self.net.runSession(self.session)
        self.source.copyToHostTensor(self.y)
        return self.y.getNumpyData()


class Ncnn:
    """Has no batch: the images of one go through one after the other."""

    def __init__(self, threads):
        import ncnn

        self.library, self.threads = ncnn, threads

    def load(self, files, x):
        self.net = self.library.Net()
        option = self.net.opt
        option.num_threads = self.threads
        option.use_fp16_packed = option.use_fp16_storage = option.use_fp16_arithmetic = False
        option.use_bf16_storage = option.use_bf16_packed = False
        for status in (self.net.load_param(files[0]), self.net.load_model(files[1])):
            if status != 0:
                raise RuntimeError(f"ncnn cannot read {files}")
        self.x = x
        self.names = self.net.input_names()[0], self.net.output_names()[0]

    def run(self):
        return np.stack([self.one(image) for image in self.x])

    def one(self, image):
        extractor = self.net.create_extractor()
        extractor.input(self.names[0], self.library.Mat(image))
        return np.array(extractor.extract(self.names[1])[1])


ENGINES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino, "mnn": Mnn, "ncnn": Ncnn}
