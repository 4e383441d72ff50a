from tests.contracts.executor import ExecutorContract, ToyEvaluator
from workers.serial import SerialExecutor


class TestSerialExecutor(ExecutorContract):
    def make(self, evaluator: ToyEvaluator) -> SerialExecutor:
        return SerialExecutor(evaluator)
