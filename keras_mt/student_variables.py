class StudentVariables:
    """Makes a Keras model train the variables of its `student` and no others.

    Not `teacher.trainable = False`: that would put the teacher's batch normalization into inference mode for good.
    """

    @property
    def trainable_variables(self):
        return self.student.trainable_variables if self.trainable else []

    @property
    def trainable_weights(self):
        return self.trainable_variables

    @property
    def non_trainable_variables(self):
        trained = {id(v) for v in self.trainable_variables}
        return [v for v in self.variables if id(v) not in trained]

    @property
    def non_trainable_weights(self):
        trained = {id(v) for v in self.trainable_variables}
        return [v for v in self.weights if id(v) not in trained]

    @property
    def losses(self):
        return self.student.losses
